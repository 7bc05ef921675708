"""Bases to measure with: the shipped one, and Stable Diffusion 1.5 and 2.1 in their exact configurations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

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
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=8 * version.sample_size,
    )
    text = CLIPTextConfig(
        vocab_size=49408,  # of CLIP
        hidden_size=version.text_width,
        intermediate_size=4 * version.text_width,
        max_position_embeddings=77,
        **version.text,
    )
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


def build_base(name: str) -> StableDiffusionPipeline:
    """The shipped pipeline, or a full-size Stable Diffusion with random weights, by name."""
    return load_pipeline(SHIPPED, torch.device("cpu")) if name == SMALL else build_full_size(VERSIONS[name])
