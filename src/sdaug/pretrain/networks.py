"""The untrained small Stable Diffusion: CLIP tokenizer and text encoder, VAE and UNet."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTokenizer

from sdaug.base.tiny import END, START, START_LOG_VARIANCE, build_scheduler, build_text_encoder, byte_letters
from sdaug.diffusion.attention import share_prompts
from sdaug.pretrain.params import NetworkParams

# How CLIP cuts plain English into words (Radford et al., arXiv 2103.00020).
WORDS = re.compile(r"[^\W\d_]+|\d|[^\s\w]+")


def build_network(
    params: NetworkParams, captions: Iterable[str], *, size_pixels: int, seed: int
) -> StableDiffusionPipeline:
    """An untrained pipeline whose tokenizer has learned the captions; a function of its arguments alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = train_tokenizer(captions, num_merges=params.num_merges, max_tokens=params.max_tokens)
        return StableDiffusionPipeline(
            vae=_build_vae(params, size_pixels=size_pixels),
            text_encoder=build_text_encoder(
                tokenizer,
                width=params.text_width,
                hidden_width=4 * params.text_width,
                num_layers=params.text_layers,
                num_heads=params.text_width // 32,
            ),
            tokenizer=tokenizer,
            unet=_build_unet(params, size_pixels=size_pixels),
            scheduler=build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def train_tokenizer(captions: Iterable[str], *, num_merges: int, max_tokens: int) -> CLIPTokenizer:
    """A CLIP tokenizer whose byte-pair merges are learned from captions; unknown words become letters."""
    merges = learn_merges(captions, num_merges)
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocab = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_tokens)


def learn_merges(captions: Iterable[str], num_merges: int) -> list[tuple[str, str]]:
    """The most common pairs of pieces, joined one after the other (Sennrich et al., arXiv 1508.07909).

    Captions are plain English. Ties are broken by the letters; the library `tokenizers` breaks them at random.
    """
    counts = Counter(word for caption in captions for word in WORDS.findall(caption.lower()))
    pieces = {word: [*word[:-1], f"{word[-1]}</w>"] for word in counts}
    merges: list[tuple[str, str]] = []
    for _ in range(num_merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        pieces = {word: _join(parts, merges[-1]) for word, parts in pieces.items()}
    return merges


def _join(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _build_vae(params: NetworkParams, *, size_pixels: int) -> AutoencoderKL:
    levels = len(params.vae_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(params.vae_channels),
        layers_per_block=1,
        latent_channels=params.latent_channels,
        norm_num_groups=4,
        sample_size=size_pixels,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        vae.quant_conv.bias[params.latent_channels :] = START_LOG_VARIANCE
    return vae


def _build_unet(params: NetworkParams, *, size_pixels: int) -> UNet2DConditionModel:
    widths: Sequence[int] = params.unet_channels
    attending = params.attention_levels
    plain = len(widths) - attending
    unet = UNet2DConditionModel(
        sample_size=size_pixels // 2 ** (len(params.vae_channels) - 1),
        in_channels=params.latent_channels,
        out_channels=params.latent_channels,
        down_block_types=(*("DownBlock2D",) * plain, *("CrossAttnDownBlock2D",) * attending),
        up_block_types=(*("CrossAttnUpBlock2D",) * attending, *("UpBlock2D",) * plain),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        cross_attention_dim=params.text_width,
        attention_head_dim=tuple(max(1, width // 32) for width in widths),  # despite its name, the number of heads
        norm_num_groups=8,
    )
    share_prompts(unet)
    return unet
