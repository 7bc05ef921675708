"""Whether a base predicts what its scheduler says: trained further as the wrong kind, it unlearns what it knows."""

import numpy as np
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray

from sdaug.common.device import torch_stream
from sdaug.diffusion.conditioning import encode_prompts
from sdaug.diffusion.denoising import loss_at
from sdaug.diffusion.latents import draw_normal, encode_images
from sdaug.diffusion.schedules import noise_schedule
from sdaug.diffusion.versions import Pipeline

NUM_PHOTOS = 2  # at 512 pixels a pass of a photo takes seconds on a CPU
FRACTIONS = (0.3, 0.5, 0.7)  # of the timesteps: there, noise and velocity are unlike
# Times the loss of the other kind: declared wrongly, pretrained/small has 2.0, and declared rightly 0.5.
FAR_WORSE = 1.5


@torch.no_grad()
def prediction_losses(pipeline: Pipeline, images: NDArray[np.uint8], caption: str) -> dict[str, float]:
    """The loss on a few photos `(N, H, W, 3)` at fixed timesteps, for each prediction type that a base can have."""
    latents = encode_images(pipeline.vae, images[:NUM_PHOTOS], flip_horizontal=False)
    means = latents.scaled(pipeline.vae.config.scaling_factor).mean.repeat(len(FRACTIONS), 1, 1, 1)
    noise = draw_normal(means.shape, torch_stream(0), means.device)
    height, width = images.shape[1:3]
    prompt = encode_prompts(pipeline, [caption], height=height, width=width)[0]
    losses = {}
    for kind in ("epsilon", "v_prediction"):
        levels = DDIMScheduler.from_config(noise_schedule(pipeline).config, prediction_type=kind)
        times = [round(fraction * levels.config.num_train_timesteps) for fraction in FRACTIONS]
        timesteps = torch.tensor(times, device=means.device).repeat_interleave(len(means) // len(FRACTIONS))
        losses[kind] = float(loss_at(pipeline.unet, levels, means, prompt, noise, timesteps).mean())
    return losses


def prediction_warning(pipeline: Pipeline, images: NDArray[np.uint8], caption: str) -> str | None:
    """What speaks against the prediction type that the base's scheduler declares, or None."""
    losses = prediction_losses(pipeline, images, caption)
    declared = pipeline.scheduler.config.prediction_type
    other = next(kind for kind in losses if kind != declared)
    if losses.get(declared, 0.0) <= FAR_WORSE * losses[other]:
        return None
    return (
        f"params.yaml: base.model: its scheduler declares {declared}, but on photos its loss is {losses[declared]:.3f} "
        f"as {declared} and {losses[other]:.3f} as {other}; if its images are noise, correct prediction_type in its "
        "scheduler/scheduler_config.json"
    )
