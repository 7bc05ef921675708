"""An untrained Stable Diffusion of a few million parameters, with the classes and folder layout of the real one.

Latent diffusion as in Rombach et al. (arXiv 2112.10752), with v-prediction (Salimans and Ho, arXiv 2202.00512).
"""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sdaug.base.params import BaseParams
from sdaug.diffusion.attention import share_prompts

TEXT_WIDTH = 128
MAX_TOKENS = 48  # one token per character; the cost of cross-attention grows with the number of tokens
START_LOG_VARIANCE = -6.0  # squared error 0.0095 instead of 0.0106 at unit variance (LOG.md, 2026-11-22)
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tiny(params: BaseParams, *, size_pixels: int) -> StableDiffusionPipeline:
    """An untrained pipeline; its weights depend only on the parameters and the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        tokenizer = build_tokenizer()
        return StableDiffusionPipeline(
            vae=_build_vae(params, size_pixels=size_pixels),
            text_encoder=build_text_encoder(
                tokenizer, width=TEXT_WIDTH, hidden_width=2 * TEXT_WIDTH, num_layers=2, num_heads=4
            ),
            tokenizer=tokenizer,
            unet=_build_unet(params, size_pixels=size_pixels),
            scheduler=build_scheduler(),
            safety_checker=None,  # it blacks out skin-like photos
            feature_extractor=None,
            requires_safety_checker=False,
        )


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level CLIP tokenizer without merges: one token per byte, so that any rare identifier can be written."""
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=MAX_TOKENS
    )


def byte_letters() -> list[str]:
    """The printable characters that byte-level BPE (GPT-2, CLIP) assigns to the 256 bytes, in its order."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [*(chr(byte) for byte in shown), *(chr(256 + index) for index in range(len(hidden)))]


def build_scheduler() -> DDIMScheduler:
    """The noise schedule of small bases, for velocity prediction."""
    return DDIMScheduler(
        beta_start=0.00085,  # betas as in Stable Diffusion
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        # Otherwise the last timestep leaks mean colours, which pure noise at sampling lacks (arXiv 2305.08891).
        rescale_betas_zero_snr=True,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def build_text_encoder(
    tokenizer: CLIPTokenizer, *, width: int, hidden_width: int, num_layers: int, num_heads: int
) -> CLIPTextModel:
    """An untrained text encoder for this tokenizer, in evaluation mode."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=hidden_width,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def _build_vae(params: BaseParams, *, size_pixels: int) -> AutoencoderKL:
    levels = len(params.vae_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(params.vae_channels),
        layers_per_block=1,
        latent_channels=params.latent_channels,
        norm_num_groups=2,  # with so few channels, more groups would normalise brightness away
        sample_size=size_pixels,
        mid_block_add_attention=False,
    )
    # With the default initial posterior variance, noise would hide details for hundreds of steps.
    with torch.no_grad():
        vae.quant_conv.bias[params.latent_channels :] = START_LOG_VARIANCE
    return vae


def _build_unet(params: BaseParams, *, size_pixels: int) -> UNet2DConditionModel:
    widths = params.unet_channels
    plain = len(widths) - 1  # attention at high resolution costs more than it gains
    unet = UNet2DConditionModel(
        sample_size=size_pixels // 2 ** (len(params.vae_channels) - 1),
        in_channels=params.latent_channels,
        out_channels=params.latent_channels,
        down_block_types=(*("DownBlock2D",) * plain, "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", *("UpBlock2D",) * plain),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(max(1, width // 32) for width in widths),  # despite its name, the number of heads
        norm_num_groups=8,
    )
    share_prompts(unet)
    return unet
