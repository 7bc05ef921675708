"""The untrained small Stable Diffusion, with the classes and folder layout of the real one.

Latent diffusion as in Rombach et al. (arXiv 2112.10752), with v-prediction (Salimans and Ho, arXiv 2202.00512).
"""

from collections.abc import Iterable, Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from sdaug.diffusion.attention import share_prompts
from sdaug.pretrain.params import NetworkParams
from sdaug.pretrain.text import build_text_encoder, train_tokenizer

START_LOG_VARIANCE = -6.0  # squared error 0.0095 instead of 0.0106 at unit variance (git show 33ef3da)


def build_network(
    params: NetworkParams, captions: Iterable[str], *, size_pixels: int, seed: int
) -> StableDiffusionPipeline:
    """An untrained pipeline whose tokenizer has learned the captions; a function of its arguments alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = train_tokenizer(captions, num_merges=params.num_merges, max_tokens=params.max_tokens)
        return StableDiffusionPipeline(
            vae=_build_vae(params, size_pixels=size_pixels),
            text_encoder=build_text_encoder(tokenizer, width=params.text_width, num_layers=params.text_layers),
            tokenizer=tokenizer,
            unet=_build_unet(params, size_pixels=size_pixels),
            scheduler=build_scheduler(),
            safety_checker=None,  # it blacks out skin-like photos
            feature_extractor=None,
            requires_safety_checker=False,
        )


def build_scheduler() -> DDIMScheduler:
    """The noise schedule, for velocity prediction."""
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
    # With the default initial posterior variance, noise would hide details for hundreds of steps.
    with torch.no_grad():
        vae.quant_conv.bias[params.latent_channels :] = START_LOG_VARIANCE
    return vae


def _build_unet(params: NetworkParams, *, size_pixels: int) -> UNet2DConditionModel:
    widths: Sequence[int] = params.unet_channels
    attending = params.attention_levels
    plain = len(widths) - attending  # attention at high resolution costs more than it gains
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
