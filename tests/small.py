"""Untrained pipelines of a few narrow layers, and the parameters of a base that does not adapt."""

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdaug.base.params import BaseParams
from sdaug.common.sections import read_section
from sdaug.diffusion.attention import share_prompts
from sdaug.pretrain.networks import build_network
from sdaug.pretrain.params import NetworkParams
from sdaug.pretrain.text import train_tokenizer

NETWORK = NetworkParams(
    vae_channels=[16, 32],
    latent_channels=4,
    unet_channels=[16, 32],
    attention_levels=1,
    text_width=128,
    text_layers=2,
    num_merges=0,
    max_tokens=48,
)
BASE = replace(
    read_section(Path(__file__).parents[1] / "params.yaml", "base", BaseParams), model="some/base", adapt_steps=0
)


def build_small(*, size_pixels: int = 16, seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline that draws noise; its tokenizer has a token per letter."""
    return build_network(NETWORK, [], size_pixels=size_pixels, seed=seed)


XL_WIDTHS, XL_POOLED, SIZE_WIDTH = (32, 64), 64, 8  # of the text encoders, of the pooled embedding and of each size


def build_small_xl(*, seed: int = 0, force_upcast: bool = True) -> StableDiffusionXLPipeline:
    """An SDXL that draws noise, in SDXL's structure; its tokenizers have a token per letter."""
    first, second = (train_tokenizer([], num_merges=0, max_tokens=48) for _ in range(2))
    second.pad_token = "!"  # as SDXL's
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        texts = [_text_config(tokenizer, width) for tokenizer, width in zip((first, second), XL_WIDTHS, strict=True)]
        pipeline = StableDiffusionXLPipeline(
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                block_out_channels=(16, 32),
                layers_per_block=1,
                norm_num_groups=4,
                sample_size=32,
                scaling_factor=0.13025,
                force_upcast=force_upcast,
            ).eval(),
            text_encoder=CLIPTextModel(texts[0]).eval(),
            text_encoder_2=CLIPTextModelWithProjection(texts[1]).eval(),
            tokenizer=first,
            tokenizer_2=second,
            unet=UNet2DConditionModel(
                sample_size=16,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                block_out_channels=(16, 32),
                layers_per_block=1,
                transformer_layers_per_block=(1, 2),
                attention_head_dim=(1, 2),
                cross_attention_dim=sum(XL_WIDTHS),
                use_linear_projection=True,
                norm_num_groups=8,
                addition_embed_type="text_time",
                addition_time_embed_dim=SIZE_WIDTH,
                projection_class_embeddings_input_dim=XL_POOLED + 6 * SIZE_WIDTH,
            ).eval(),
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                timestep_spacing="leading",
                steps_offset=1,
            ),
            add_watermarker=False,
        )
    share_prompts(pipeline.unet)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _text_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=width // 16,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=XL_POOLED,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
