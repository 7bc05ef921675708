"""Adapting: the UNet of a loaded base learns the study's own photos, all with one generic caption."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray

from sdaug.base.params import BaseParams
from sdaug.common.checkpoint import Checkpoint, Progress
from sdaug.common.device import announce, torch_stream
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import Latents, encode_images, encode_prompts
from sdaug.diffusion.schedules import noise_schedule

LOSS = "adapt_loss"
WARMUP_STEPS = 50
REPORT_STEPS = 25

Report = Callable[[int, Mapping[str, float]], None]


def adapt_base(
    pipeline: StableDiffusionPipeline,
    images: NDArray[np.uint8],
    params: BaseParams,
    *,
    report: Report,
    work_dir: Path | None = None,
) -> None:
    """Train the UNet further, in place, on images `(N, H, W, 3)`; VAE and text encoder stay.

    It goes on from the checkpoint in `work_dir`, if there is one.

    Raises:
        ValueError: a loss is not finite.
    """
    latents = encode_images(pipeline.vae, images, flip_horizontal=params.flip_horizontal)
    latents = latents.scaled(pipeline.vae.config.scaling_factor)
    checkpoint = Checkpoint(work_dir / ".adapt.pt") if work_dir else None
    train_unet(pipeline, latents, params, report=report, checkpoint=checkpoint)


def train_unet(
    pipeline: StableDiffusionPipeline,
    latents: Latents,
    params: BaseParams,
    *,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train the UNet on scaled latents; the moving average of its weights is kept.

    Raises:
        ValueError: a loss is not finite.
    """
    # Setup. Captions are encoded once, because the text encoder is frozen.
    unet, stream = pipeline.unet, torch_stream(derive_seed(params.seed, "adapt"))
    unet.train().requires_grad_(True).to(memory_format=torch.channels_last)
    noise_levels = noise_schedule(pipeline)
    caption, empty = encode_prompts(pipeline, [params.caption, ""])
    optimizer = torch.optim.AdamW(unet.parameters(), lr=params.adapt_learning_rate, weight_decay=0.0, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, params.adapt_steps)
    announce("UNet", unet.device, "fp32", unet.parameters(), unet.parameters())
    average = EMAModel(unet.parameters(), decay=params.adapt_ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    monitor = LossMonitor([LOSS], unet.device)
    state = Progress(
        weights=list(unet.parameters()),
        optimizer=optimizer,
        schedule=schedule,
        stream=stream,
        average=average,
        monitor=monitor,
    )
    log = _Log(state, report, checkpoint, num_steps=params.adapt_steps)

    for step in log.steps():
        # Denoise a batch. Captions are dropped at random to train the unconditional model for classifier-free guidance.
        chosen = torch.randint(len(latents), (params.adapt_batch_size,), generator=stream)
        is_dropped = torch.rand(params.adapt_batch_size, generator=stream) < params.caption_dropout
        prompts = torch.where(is_dropped.to(caption.device)[:, None, None], empty, caption)
        loss = denoising_loss(unet, noise_levels, latents.draw(chosen, stream), prompts, stream).mean()
        monitor.add(step, [loss])

        # Optimizer step.
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.step(unet.parameters())

        # Report.
        if step % REPORT_STEPS == 0 or step == params.adapt_steps:
            log.add(step, monitor.means(where="base: UNet", way_out="lower base.adapt_learning_rate"))
    average.copy_to(unet.parameters())
    unet.eval()


class _Log:
    """The steps of the training, its reported losses, and its checkpoints."""

    def __init__(self, state: Progress, report: Report, checkpoint: Checkpoint | None, *, num_steps: int) -> None:
        self._state, self._report, self._checkpoint, self._num_steps = state, report, checkpoint, num_steps
        self._rows = list[tuple[int, dict[str, float]]]()

    def steps(self) -> Iterator[int]:
        """The numbers of the steps that are left; losses from before a checkpoint are reported first."""
        done = 0
        found = self._checkpoint.load() if self._checkpoint else None
        if found:
            self._state.restore(found["state"])
            done = found["step"]
            for step, values in found["rows"]:
                self.add(step, values)
        for step in progress(range(done + 1, self._num_steps + 1), title="UNet (adapt)", total=self._num_steps - done):
            yield step
            # The last state too: what comes next would else begin with this training.
            if self._checkpoint and (self._checkpoint.is_due() or step == self._num_steps):
                self._checkpoint.save({"step": step, "rows": self._rows, "state": self._state.state()})

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Report losses."""
        self._rows.append((step, dict(values)))
        self._report(step, values)
