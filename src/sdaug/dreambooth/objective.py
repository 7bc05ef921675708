"""The objective of DreamBooth: two halves, instance and prior, and their losses from a single forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray

from sdaug.common.precision import autocast
from sdaug.diffusion.conditioning import Conditioning, concatenate, embed, encode_prompts, encoder_inputs
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import Latents, encode_images
from sdaug.diffusion.versions import Pipeline
from sdaug.dreambooth.params import DreamBoothParams


@dataclass(frozen=True)
class Half:
    """One term of the objective, instance or prior: its images, prompt and loss weight."""

    name: str
    latents: Latents
    prompt: str
    weight: float


def encode_set(pipeline: Pipeline, images: NDArray[np.uint8], params: DreamBoothParams) -> Latents:
    """The scaled posteriors of images `(N, H, W, 3)`, and of their mirror images with `flip_horizontal`."""
    latents = encode_images(pipeline.vae, images, flip_horizontal=params.flip_horizontal)
    return latents.scaled(pipeline.vae.config.scaling_factor)


def half_losses(
    unet: UNet2DConditionModel,
    noise_levels: DDIMScheduler,
    halves: Sequence[Half],
    prompts: Conditioning,
    params: DreamBoothParams,
    stream: torch.Generator,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, ...]:
    """The mean loss of each term, from a single forward pass; each has its prompt."""
    size = params.batch_size
    # Images of one half after those of the other, as attention by prompt and `view` below expect.
    latents = torch.cat(
        [half.latents.draw(torch.randint(len(half.latents), (size,), generator=stream), stream) for half in halves]
    )
    with autocast(latents.device, dtype):  # not pipeline.device, which searches all of its parts
        losses = denoising_loss(
            unet,
            noise_levels,
            latents,
            prompts,
            stream,
            min_snr_gamma=params.min_snr_gamma,
            noise_offset=params.noise_offset,
        )
    return tuple(losses.view(len(halves), size).mean(dim=1))


class Prompts:
    """The prompt of each half, embedded once, or at each call if text encoders are trained."""

    def __init__(
        self, pipeline: Pipeline, halves: Sequence[Half], params: DreamBoothParams, dtype: torch.dtype
    ) -> None:
        texts = [half.prompt for half in halves]
        self._height, self._width = halves[0].latents.image_size(pipeline.vae_scale_factor)
        # Not `pipeline.device` later on, which is that of any part, and the VAE leaves the device.
        self._pipeline, self._dtype, self._device = pipeline, dtype, pipeline.device
        self._fixed = None
        if not params.train_text_encoder:
            self._fixed = concatenate(encode_prompts(pipeline, texts, height=self._height, width=self._width))
        self._inputs = encoder_inputs(pipeline, texts)

    def __call__(self) -> Conditioning:
        if self._fixed is not None:
            return self._fixed
        with autocast(self._device, self._dtype):
            return embed(self._pipeline, self._inputs, height=self._height, width=self._width)
