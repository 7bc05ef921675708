"""The validation loss: the denoising loss of photos that a generator has not seen, at fixed timesteps and fixed noise.

The training loss says little, since timesteps and noise are drawn anew: a large one may only be an early timestep. With
both fixed, two losses of one class can be compared, over steps and over draws (as in kohya's sd-scripts).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray

from sdaug.common.device import torch_stream
from sdaug.common.precision import autocast
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.conditioning import Conditioning
from sdaug.diffusion.denoising import loss_at
from sdaug.diffusion.latents import draw_normal, encode_images
from sdaug.diffusion.versions import Pipeline

FRACTIONS = (0.2, 0.4, 0.6, 0.8)  # of the training timesteps, such as 200, 400, 600 and 800
MAX_PHOTOS = 32  # evenly spaced among those of a larger class: 128 passes of the UNet are enough
BATCH = 8  # fixed: rounding depends on it


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Latents `(N, C, h, w)` of photos, with noise of their shape and a timestep for each `(N,)`."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor

    @torch.no_grad()
    def loss(
        self, unet: UNet2DConditionModel, scheduler: DDIMScheduler, prompt: Conditioning, dtype: torch.dtype
    ) -> float:
        """The mean loss for one prompt; the UNet is in evaluation mode."""
        parts = zip(self.latents.split(BATCH), self.noise.split(BATCH), self.timesteps.split(BATCH), strict=True)
        with autocast(self.latents.device, dtype):
            losses = [loss_at(unet, scheduler, latents, prompt, noise, times) for latents, noise, times in parts]
        return float(torch.cat(losses).double().mean())


def prepare_validation(pipeline: Pipeline, images: NDArray[np.uint8], scheduler: DDIMScheduler) -> Validation:
    """What the validation loss of photos `(N, H, W, 3)` needs; the noise is the same for all draws and classes."""
    chosen = np.linspace(0, len(images) - 1, min(len(images), MAX_PHOTOS)).round().astype(int)
    latents = encode_images(pipeline.vae, images[chosen], flip_horizontal=False)
    means = latents.scaled(pipeline.vae.config.scaling_factor).mean.repeat(len(FRACTIONS), 1, 1, 1)
    times = [round(fraction * scheduler.config.num_train_timesteps) for fraction in FRACTIONS]
    return Validation(
        latents=means,
        noise=draw_normal(means.shape, torch_stream(derive_seed(0, "validation noise")), means.device),
        timesteps=torch.tensor(times, device=means.device).repeat_interleave(len(chosen)),
    )


class BestStep:
    """The weights with the lowest validation loss so far, in the computer's memory."""

    def __init__(self) -> None:
        self.step, self.loss = 0, math.inf
        self.weights: list[torch.Tensor] = []

    def offer(self, step: int, loss: float, weights: Sequence[torch.Tensor]) -> None:
        """Keep a copy of the weights if their loss is lower than that of all before."""
        if loss < self.loss:
            self.step, self.loss = step, loss
            self.weights = [weight.detach().to("cpu", copy=True) for weight in weights]

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"step": self.step, "loss": self.loss, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.step, self.loss, self.weights = state["step"], state["loss"], list(state["weights"])
