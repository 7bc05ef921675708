"""What differs between versions of Stable Diffusion: SDXL has a second text encoder, and a VAE that may overflow."""

from typing import Any, TypeAlias

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn
from transformers import PreTrainedModel

from sdaug.diffusion.layout import TEXT_PARTS, TOKENIZERS

Pipeline: TypeAlias = StableDiffusionPipeline | StableDiffusionXLPipeline

CLASSES: tuple[type[Pipeline], ...] = (StableDiffusionPipeline, StableDiffusionXLPipeline)
PIPELINES = {kind.__name__: kind for kind in CLASSES}


def is_xl(pipeline: Pipeline) -> bool:
    """Whether the pipeline is SDXL."""
    return isinstance(pipeline, StableDiffusionXLPipeline)


def text_parts(pipeline: Pipeline) -> list[str]:
    """The names of the pipeline's text encoders: one, or SDXL's two."""
    return [name for name in TEXT_PARTS if name in pipeline.components]


def text_encoders(pipeline: Pipeline) -> list[PreTrainedModel]:
    """The pipeline's text encoders, in their order."""
    return [getattr(pipeline, name) for name in text_parts(pipeline)]


def tokenizers(pipeline: Pipeline) -> list[Any]:
    """The tokenizer of each text encoder."""
    return [getattr(pipeline, name) for name in TOKENIZERS if name in pipeline.components]


def networks(pipeline: Pipeline) -> list[nn.Module]:
    """All models of the pipeline: UNet, VAE and text encoders."""
    return [pipeline.unet, pipeline.vae, *text_encoders(pipeline)]


def vae_dtype(pipeline: Pipeline, dtype: torch.dtype) -> torch.dtype:
    """The dtype of the VAE where the UNet has `dtype`.

    SDXL's VAE overflows in float16, so it stays float32 unless its config says `force_upcast: false`, as that of a VAE
    that was trained further for 16 bits. In versions 1.x and 2.x the key is only diffusers' default, and means nothing.
    """
    return torch.float32 if is_xl(pipeline) and pipeline.vae.config.force_upcast else dtype
