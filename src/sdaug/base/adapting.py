"""Adapting: the UNet of a loaded base learns the study's own photos, all with one generic caption."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.base.params import BaseParams
from sdaug.common.checkpoint import Checkpoint
from sdaug.common.device import announce, torch_stream
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.conditioning import choose, encode_prompts
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import Latents, encode_images
from sdaug.diffusion.schedules import noise_schedule
from sdaug.diffusion.versions import Pipeline
from sdaug.diffusion.weight_training import Report, WeightTraining, run_loop

LOSS = "adapt_loss"
WARMUP_STEPS = 50
REPORT_STEPS = 25


def adapt_base(
    pipeline: Pipeline,
    images: NDArray[np.uint8],
    params: BaseParams,
    *,
    report: Report,
    work_dir: Path | None = None,
) -> None:
    """Train the UNet further, in place, on images `(N, H, W, 3)`; VAE and text encoders stay.

    It goes on from the checkpoint in `work_dir`, if there is one. The moving average of the weights is kept.

    Raises:
        ValueError: a loss is not finite.
    """
    latents = encode_images(pipeline.vae, images, flip_horizontal=params.flip_horizontal)
    latents = latents.scaled(pipeline.vae.config.scaling_factor)
    run_loop(
        AdaptLoop(pipeline, latents, params),
        params.adapt_steps,
        Checkpoint(work_dir / ".adapt.pt") if work_dir else None,
        report_steps=REPORT_STEPS,
        title="UNet (adapt)",
        where="base: UNet",
        way_out="lower base.adapt_learning_rate",
        report=report,
    )


class AdaptLoop:
    """Denoising of scaled latents with the generic caption, which is encoded once: text encoders are frozen."""

    def __init__(self, pipeline: Pipeline, latents: Latents, params: BaseParams) -> None:
        self._unet, self._latents, self._params = pipeline.unet, latents, params
        self._noise_levels = noise_schedule(pipeline)
        height, width = latents.image_size(pipeline.vae_scale_factor)
        self._caption, self._empty = encode_prompts(pipeline, [params.caption, ""], height=height, width=width)
        self.training = WeightTraining(
            [pipeline.unet],
            [LOSS],
            torch_stream(derive_seed(params.seed, "adapt")),
            learning_rate=params.adapt_learning_rate,
            warmup_steps=WARMUP_STEPS,
            schedule_steps=params.adapt_steps,
            ema_decay=params.adapt_ema_decay,
        )
        announce("UNet", self.training.device, "fp32", self.training.weights, self.training.weights)

    def step(self, number: int) -> None:
        """One step; captions are dropped at random, to learn the unconditional model for classifier-free guidance."""
        size, stream = self._params.adapt_batch_size, self.training.stream
        chosen = torch.randint(len(self._latents), (size,), generator=stream)
        is_dropped = torch.rand(size, generator=stream) < self._params.caption_dropout
        prompts = choose(is_dropped.to(self.training.device), self._empty, self._caption)
        loss = denoising_loss(
            self._unet, self._noise_levels, self._latents.draw(chosen, stream), prompts, stream
        ).mean()
        self.training.monitor.add(number, [loss])
        self.training.update(loss)
