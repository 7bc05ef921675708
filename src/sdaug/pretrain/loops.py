"""The two trainings, of the VAE and of UNet and text encoder, which go on from their last checkpoint.

Everything that changes from step to step is in `state`, so an interrupted training gives the bytes of an unbroken one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import nn

from sdaug.common.checkpoint import Checkpoint, Progress
from sdaug.common.device import torch_stream
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.precision import autocast, resolve_precision
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import Latents
from sdaug.pretrain.params import PretrainParams, TrainingParams

REPORT_STEPS = 100
KL_WEIGHT = 1.0e-6


class ResumableLoop(Protocol):
    """A training: one step at a time, with all that changes in `state`."""

    monitor: LossMonitor

    def step(self, number: int) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


def run_loop(
    loop: ResumableLoop, num_steps: int, path: Path, *, key: str, every_seconds: float, title: str
) -> list[dict[str, Any]]:
    """Run all steps that are left, and return the mean losses of all; a checkpoint with another key is not taken.

    Raises:
        ValueError: a loss is not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(path, every_seconds=every_seconds)
    done, history = 0, list[dict[str, Any]]()
    state = checkpoint.load()
    if state and state["key"] == key:
        loop.restore(state["state"])
        done, history = state["step"], state["history"]
    for step in progress(range(done + 1, num_steps + 1), title=title, total=num_steps - done):
        loop.step(step)
        if step % REPORT_STEPS == 0 or step == num_steps:
            means = loop.monitor.means(where=f"pretrain: {title}", way_out="lower its learning_rate")
            history += [{"curve": name, "step": step, "value": value} for name, value in means.items()]
        if checkpoint.is_due() or step == num_steps:
            checkpoint.save({"key": key, "step": step, "history": history, "state": loop.state()})
    return history


class _Training:
    """Optimizer, schedule, moving average and random stream of some weights."""

    def __init__(self, modules: Sequence[nn.Module], params: TrainingParams, purpose: str) -> None:
        self.modules, self.params = modules, params
        self.device = next(modules[0].parameters()).device
        self.dtype = resolve_precision(params.precision, self.device)
        self.weights = [weight for module in modules for weight in module.parameters()]
        for module in modules:
            module.train().requires_grad_(True).to(memory_format=torch.channels_last)
        self.stream = torch_stream(derive_seed(params.seed, purpose))
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=params.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, params.warmup_steps, params.schedule_steps)
        self.average = EMAModel(self.weights, decay=params.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)

    def progress(self, monitor: LossMonitor) -> Progress:
        """What a checkpoint holds."""
        return Progress(
            weights=self.weights,
            optimizer=self.optimizer,
            schedule=self.schedule,
            stream=self.stream,
            average=self.average,
            monitor=monitor,
        )

    def update(self, loss: torch.Tensor) -> None:
        """One optimizer step."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.step(self.weights)

    def finish(self) -> None:
        """Keep the moving average."""
        self.average.copy_to(self.weights)
        for module in self.modules:
            module.eval().requires_grad_(False)


class VaeLoop:
    """Autoencoding of random crops."""

    def __init__(self, pipeline: StableDiffusionPipeline, images: torch.Tensor, params: PretrainParams) -> None:
        self._vae, self._images, self._crop = pipeline.vae, images, params.crop_pixels
        self.training = _Training([pipeline.vae], params.vae, "vae")
        self.monitor = LossMonitor(["vae_squared_error"], self.training.device)
        kept = self.training.progress(self.monitor)
        self.state, self.restore = kept.state, kept.restore

    def step(self, number: int) -> None:
        """One step; `images` are uint8 `(N, 3, H, W)`."""
        training = self.training
        batch = _crops(self._images, training.params.batch_size, self._crop, training.stream).to(training.device)
        with autocast(training.device, training.dtype):
            posterior = self._vae.encode(batch).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=training.stream).to(training.device)
            decoded = self._vae.decode(posterior.mean + posterior.std * noise).sample.float()
        error = F.mse_loss(decoded, batch)
        training.update(error + 0.2 * F.l1_loss(decoded, batch) + KL_WEIGHT * posterior.kl().mean())
        self.monitor.add(number, [error])


class UnetLoop:
    """Denoising of latents by captions; the text encoder learns with the UNet."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, latents: Latents, tokens: torch.Tensor, params: PretrainParams
    ) -> None:
        self._pipeline, self._latents, self._tokens = pipeline, latents, tokens
        self._dropout, self._gamma = params.caption_dropout, params.min_snr_gamma
        self.training = _Training([pipeline.unet, pipeline.text_encoder], params.unet, "unet")
        self.monitor = LossMonitor(["unet_loss"], self.training.device)
        kept = self.training.progress(self.monitor)
        self.state, self.restore = kept.state, kept.restore

    def step(self, number: int) -> None:
        """One step; the last row of `tokens` `(N + 1, T)` is the empty caption."""
        training = self.training
        size, num_images = training.params.batch_size, len(self._tokens) - 1
        chosen = torch.randint(len(self._latents), (size,), generator=training.stream)
        # Mirror images come after all others and have their captions.
        is_dropped = torch.rand(size, generator=training.stream) < self._dropout
        rows = torch.where(is_dropped, num_images, chosen % num_images)
        with autocast(training.device, training.dtype):
            prompts = self._pipeline.text_encoder(self._tokens[rows].to(training.device))[0]
            losses = denoising_loss(
                self._pipeline.unet,
                self._pipeline.scheduler,
                self._latents.draw(chosen, training.stream),
                prompts,
                training.stream,
                min_snr_gamma=self._gamma,
            )
        training.update(losses.mean())
        self.monitor.add(number, [losses.mean()])


def _crops(images: torch.Tensor, size: int, crop: int, stream: torch.Generator) -> torch.Tensor:
    """Random crops `(B, 3, crop, crop)` in [-1, 1] of uint8 images `(N, 3, H, W)`, half of them mirrored."""
    N, _, H, W = images.shape
    chosen = torch.randint(N, (size,), generator=stream).tolist()
    tops = torch.randint(H - crop + 1, (size,), generator=stream).tolist()
    lefts = torch.randint(W - crop + 1, (size,), generator=stream).tolist()
    cuts = torch.stack([images[i, :, t : t + crop, x : x + crop] for i, t, x in zip(chosen, tops, lefts, strict=True)])
    is_mirrored = torch.rand(size, generator=stream) < 0.5
    cuts = torch.where(is_mirrored[:, None, None, None], cuts.flip(-1), cuts)
    return cuts.float().div(127.5).sub(1.0).contiguous(memory_format=torch.channels_last)
