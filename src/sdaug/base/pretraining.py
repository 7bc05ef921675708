"""Training on the study's own photos with one generic caption: of `tiny` from scratch, or of a loaded base further."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray

from sdaug.base.params import BaseParams
from sdaug.common.checkpoint import Checkpoint, Progress
from sdaug.common.device import announce, torch_stream
from sdaug.common.loss_monitor import LossMonitor, check_finite
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import Latents, encode_images, encode_prompts, to_pixels
from sdaug.diffusion.schedules import noise_schedule

KL_WEIGHT = 1.0e-7  # enough to keep some noise in the latents, too little to blur
WARMUP_STEPS = 50
REPORT_STEPS = 25

Report = Callable[[int, Mapping[str, float]], None]


def train_base(
    pipeline: StableDiffusionPipeline,
    images: NDArray[np.uint8],
    params: BaseParams,
    *,
    report: Report,
    work_dir: Path | None = None,
) -> None:
    """Train the VAE and the UNet in place on images `(N, H, W, 3)`, from the checkpoints in `work_dir`, if any.

    Raises:
        ValueError: a loss is not finite.
    """
    train_vae(pipeline.vae, images, params, report=report, checkpoint=_checkpoint(work_dir, "vae"))
    whiten_latents(pipeline.vae, encode_images(pipeline.vae, images, flip_horizontal=False))
    latents = encode_images(pipeline.vae, images, flip_horizontal=params.flip_horizontal)
    pipeline.vae.register_to_config(scaling_factor=round(1.0 / latents.spread(), 6))
    latents = latents.scaled(pipeline.vae.config.scaling_factor)
    plan = UnetPlan(name="unet", steps=params.unet_steps, learning_rate=params.unet_learning_rate)
    train_unet(pipeline, latents, params, plan, report=report, checkpoint=_checkpoint(work_dir, plan.name))


def adapt_base(
    pipeline: StableDiffusionPipeline,
    images: NDArray[np.uint8],
    params: BaseParams,
    *,
    report: Report,
    work_dir: Path | None = None,
) -> None:
    """Train the UNet of a loaded base further, in place, on images `(N, H, W, 3)`; VAE and text encoder stay.

    Raises:
        ValueError: a loss is not finite.
    """
    latents = encode_images(pipeline.vae, images, flip_horizontal=params.flip_horizontal)
    latents = latents.scaled(pipeline.vae.config.scaling_factor)
    plan = UnetPlan(name="adapt", steps=params.adapt_steps, learning_rate=params.adapt_learning_rate)
    train_unet(pipeline, latents, params, plan, report=report, checkpoint=_checkpoint(work_dir, plan.name))


def train_vae(
    vae: AutoencoderKL,
    images: NDArray[np.uint8],
    params: BaseParams,
    *,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train the VAE on random crops of images `(N, H, W, 3)`: a crop gives details more weight and costs less."""
    # Setup. beta2 is lower than the usual 0.999, because training has only a few hundred steps.
    stream, device = torch_stream(derive_seed(params.seed, "vae")), vae.device
    vae.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        vae.parameters(), lr=params.vae_learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, params.vae_steps)
    announce("VAE", device, "fp32", vae.parameters(), vae.parameters())
    state = Progress(weights=list(vae.parameters()), optimizer=optimizer, schedule=schedule, stream=stream)
    log = _Log(state, report, checkpoint, num_steps=params.vae_steps)

    for step in log.steps(title="VAE"):
        # Encode, sample from the posterior, decode.
        batch = random_crops(images, params, stream).to(device)
        posterior = vae.encode(batch).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=stream).to(device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample

        # Optimizer step.
        reconstruction = F.mse_loss(decoded, batch)
        loss = reconstruction + 0.2 * F.l1_loss(decoded, batch) + KL_WEIGHT * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()

        # Report.
        if step % REPORT_STEPS == 0 or step == params.vae_steps:
            check_finite(loss, where=f"base: VAE step {step}")
            log.add(step, {"vae_squared_error": float(reconstruction.detach())})
    vae.eval().requires_grad_(False)


def random_crops(images: NDArray[np.uint8], params: BaseParams, stream: torch.Generator) -> torch.Tensor:
    """Random crops `(B, 3, crop, crop)` in [-1, 1] of random images `(N, H, W, 3)`."""
    num_images, height, width, _ = images.shape
    crop = min(params.vae_crop_pixels, height, width)
    chosen = torch.randint(num_images, (params.vae_batch_size,), generator=stream).tolist()
    tops = torch.randint(height - crop + 1, (params.vae_batch_size,), generator=stream).tolist()
    lefts = torch.randint(width - crop + 1, (params.vae_batch_size,), generator=stream).tolist()
    cuts = [images[i, t : t + crop, x : x + crop] for i, t, x in zip(chosen, tops, lefts, strict=True)]
    return to_pixels(np.stack(cuts)).to(memory_format=torch.channels_last)


@torch.no_grad()
def whiten_latents(vae: AutoencoderKL, latents: Latents) -> None:
    """Whiten the latent space by PCA: each principal component gets mean 0 and variance 1.

    After such short training the latent channels share one dominant component; the details that the decoder needs have
    a hundredth of its variance, so a UNet trained with squared error ignores them. The transform is folded into the
    1x1 convolutions on both sides of the latents, so reconstructions do not change. The posterior variance becomes one
    constant per channel, its mean over `latents`.
    """
    # Principal axes of drawn latents: covariance of the means plus the mean variance of the posteriors.
    num_channels = latents.mean.shape[1]
    values = latents.mean.double().movedim(1, -1).reshape(-1, num_channels)
    noise = latents.std.double().square().mean(dim=(0, 2, 3))
    center = values.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov(values.T, correction=0) + noise.diag())
    forward = (axes / variances.sqrt()).T
    backward = axes * variances.sqrt()

    # Fold the map into the encoder's last convolution: first the means, then the log-variances.
    before, after = vae.quant_conv, vae.post_quant_conv
    mean_rows = before.weight[:num_channels, :, 0, 0].double()
    before.weight[:num_channels, :, 0, 0] = (forward @ mean_rows).float()
    before.bias[:num_channels] = (forward @ (before.bias[:num_channels].double() - center)).float()
    before.weight[num_channels:] = 0.0
    before.bias[num_channels:] = (forward.square() @ noise).log().float()
    # Fold its inverse into the decoder's first convolution.
    columns = after.weight[:, :, 0, 0].double()
    after.weight[:, :, 0, 0] = (columns @ backward).float()
    after.bias += (columns @ center).float()


@dataclass(frozen=True, kw_only=True)
class UnetPlan:
    """One training of the UNet; `name` starts the names of its keys in section `base`."""

    name: str
    steps: int
    learning_rate: float


def train_unet(
    pipeline: StableDiffusionPipeline,
    latents: Latents,
    params: BaseParams,
    plan: UnetPlan,
    *,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train the UNet on scaled latents; the moving average of its weights is kept.

    Raises:
        ValueError: a loss is not finite.
    """
    # Setup. Captions are encoded once, because the text encoder is frozen.
    unet, stream = pipeline.unet, torch_stream(derive_seed(params.seed, plan.name))
    unet.train().requires_grad_(True).to(memory_format=torch.channels_last)
    noise_levels = noise_schedule(pipeline)
    caption, empty = encode_prompts(pipeline, [params.caption, ""])
    optimizer = torch.optim.AdamW(unet.parameters(), lr=plan.learning_rate, weight_decay=0.0, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, plan.steps)
    announce("UNet", unet.device, "fp32", unet.parameters(), unet.parameters())
    average = EMAModel(unet.parameters(), decay=params.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    monitor = LossMonitor([f"{plan.name}_loss"], unet.device)
    state = Progress(
        weights=list(unet.parameters()),
        optimizer=optimizer,
        schedule=schedule,
        stream=stream,
        average=average,
        monitor=monitor,
    )
    log = _Log(state, report, checkpoint, num_steps=plan.steps)

    for step in log.steps(title=f"UNet ({plan.name})"):
        # Denoise a batch. Captions are dropped at random to train the unconditional model for classifier-free guidance.
        chosen = torch.randint(len(latents), (params.unet_batch_size,), generator=stream)
        is_dropped = torch.rand(params.unet_batch_size, generator=stream) < params.caption_dropout
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
        if step % REPORT_STEPS == 0 or step == plan.steps:
            log.add(step, monitor.means(where="base: UNet", way_out=f"lower base.{plan.name}_learning_rate"))
    average.copy_to(unet.parameters())
    unet.eval()


class _Log:
    """The steps of a training, its reported losses, and its checkpoints."""

    def __init__(self, state: Progress, report: Report, checkpoint: Checkpoint | None, *, num_steps: int) -> None:
        self._state, self._report, self._checkpoint, self._num_steps = state, report, checkpoint, num_steps
        self._rows = list[tuple[int, dict[str, float]]]()

    def steps(self, *, title: str) -> Iterator[int]:
        """The numbers of the steps that are left; losses from before a checkpoint are reported first."""
        done = 0
        found = self._checkpoint.load() if self._checkpoint else None
        if found:
            self._state.restore(found["state"])
            done = found["step"]
            for step, values in found["rows"]:
                self.add(step, values)
        for step in progress(range(done + 1, self._num_steps + 1), title=title, total=self._num_steps - done):
            yield step
            # The last state too: what comes next would else begin with this training.
            if self._checkpoint and (self._checkpoint.is_due() or step == self._num_steps):
                self._checkpoint.save({"step": step, "rows": self._rows, "state": self._state.state()})

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Report losses."""
        self._rows.append((step, dict(values)))
        self._report(step, values)


def _checkpoint(work_dir: Path | None, name: str) -> Checkpoint | None:
    return Checkpoint(work_dir / f".{name}.pt") if work_dir else None
