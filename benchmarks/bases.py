"""Bases to measure with: the shipped one, and Stable Diffusion 1.5, 2.1 and XL in their exact configurations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdaug.diffusion.pipelines import load_pipeline
from sdaug.pretrain.text import train_tokenizer

SMALL = "small"
SHIPPED = Path(__file__).parents[1] / "pretrained" / SMALL


@dataclass(frozen=True, kw_only=True)
class Version:
    """What differs between stable-diffusion-v1-5 and stable-diffusion-2-1."""

    num_weights: int  # of the UNet
    sample_size: int  # of latents, an eighth of the image: 512 and 768 pixels
    unet: dict[str, Any]
    text_width: int
    text: dict[str, Any]
    prediction_type: str


VERSIONS = {
    "1.5": Version(
        num_weights=859_520_964,
        sample_size=64,
        unet={"attention_head_dim": 8},  # despite its name, the number of heads
        text_width=768,
        text={"num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768},
        prediction_type="epsilon",
    ),
    "2.1": Version(
        num_weights=865_910_724,
        sample_size=96,
        unet={"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True, "upcast_attention": True},
        text_width=1024,
        text={"num_hidden_layers": 23, "num_attention_heads": 16, "projection_dim": 512, "hidden_act": "gelu"},
        prediction_type="v_prediction",
    ),
}


def build_full_size(version: Version) -> StableDiffusionPipeline:
    """A pipeline of one version with random weights and our own tokenizer, so that nothing is downloaded."""
    torch.manual_seed(0)
    # The parts, as the versions' published configurations have them.
    unet = UNet2DConditionModel(
        sample_size=version.sample_size,
        in_channels=4,
        out_channels=4,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        cross_attention_dim=version.text_width,
        **version.unet,
    )
    vae = _build_vae(sample_size=8 * version.sample_size)
    text = _text_config(version.text_width, version.text)
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=version.prediction_type,
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=train_tokenizer([], num_merges=0, max_tokens=48),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,  # it blacks out photos that look like skin
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_xl() -> StableDiffusionXLPipeline:
    """An SDXL 1.0 with random weights and our own tokenizers: 14 GB."""
    torch.manual_seed(0)
    first = _text_config(768, {"num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768})
    second = _text_config(
        1280, {"num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu"}
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    return StableDiffusionXLPipeline(
        vae=_build_vae(sample_size=1024, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(first).eval(),
        text_encoder_2=CLIPTextModelWithProjection(second).eval(),
        tokenizer=train_tokenizer([], num_merges=0, max_tokens=77),
        tokenizer_2=train_tokenizer([], num_merges=0, max_tokens=77),
        unet=build_xl_unet(),
        scheduler=scheduler,
        add_watermarker=False,
    )


def build_xl_unet() -> UNet2DConditionModel:
    """The UNet of SDXL 1.0: 2,567,463,684 weights."""
    return UNet2DConditionModel(
        sample_size=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280),
        layers_per_block=2,
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=1280 + 6 * 256,
    )


def _build_vae(**changes: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        **changes,
    )


def _text_config(width: int, changes: dict[str, Any]) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,  # of CLIP
        hidden_size=width,
        intermediate_size=4 * width,
        max_position_embeddings=77,
        **changes,
    )


def build_base(name: str) -> StableDiffusionPipeline:
    """The shipped pipeline, or a full-size Stable Diffusion with random weights, by name."""
    return load_pipeline(SHIPPED, torch.device("cpu")) if name == SMALL else build_full_size(VERSIONS[name])
