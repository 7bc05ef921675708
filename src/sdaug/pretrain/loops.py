"""The two trainings, of the VAE and of UNet and text encoder."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from torch import nn

from sdaug.common.device import torch_stream
from sdaug.common.precision import autocast, resolve_precision
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.conditioning import Conditioning
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import Latents
from sdaug.diffusion.weight_training import WeightTraining
from sdaug.pretrain.params import PretrainParams, TrainingParams

KL_WEIGHT = 1.0e-6


def _training(modules: Sequence[nn.Module], params: TrainingParams, *, purpose: str, loss: str) -> WeightTraining:
    return WeightTraining(
        modules,
        [loss],
        torch_stream(derive_seed(params.seed, purpose)),
        learning_rate=params.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=0.01,
        warmup_steps=params.warmup_steps,
        schedule_steps=params.schedule_steps,
        ema_decay=params.ema_decay,
    )


class VaeLoop:
    """Autoencoding of random crops."""

    def __init__(self, pipeline: StableDiffusionPipeline, images: torch.Tensor, params: PretrainParams) -> None:
        self._vae, self._images, self._crop = pipeline.vae, images, params.crop_pixels
        self._size = params.vae.batch_size
        self.training = _training([pipeline.vae], params.vae, purpose="vae", loss="vae_squared_error")
        self._dtype = resolve_precision(params.vae.precision, self.training.device)

    def step(self, number: int) -> None:
        """One step; `images` are uint8 `(N, 3, H, W)`."""
        training = self.training
        batch = _crops(self._images, self._size, self._crop, training.stream).to(training.device)
        with autocast(training.device, self._dtype):
            posterior = self._vae.encode(batch).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=training.stream).to(training.device)
            decoded = self._vae.decode(posterior.mean + posterior.std * noise).sample.float()
        error = F.mse_loss(decoded, batch)
        training.update(error + 0.2 * F.l1_loss(decoded, batch) + KL_WEIGHT * posterior.kl().mean())
        training.monitor.add(number, [error])


class UnetLoop:
    """Denoising of latents by captions; the text encoder learns with the UNet."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, latents: Latents, tokens: torch.Tensor, params: PretrainParams
    ) -> None:
        self._pipeline, self._latents, self._tokens = pipeline, latents, tokens
        self._dropout, self._gamma = params.caption_dropout, params.min_snr_gamma
        modules = [pipeline.unet, pipeline.text_encoder]
        self._size = params.unet.batch_size
        self.training = _training(modules, params.unet, purpose="unet", loss="unet_loss")
        self._dtype = resolve_precision(params.unet.precision, self.training.device)

    def step(self, number: int) -> None:
        """One step; the last row of `tokens` `(N + 1, T)` is the empty caption."""
        training = self.training
        size, num_images = self._size, len(self._tokens) - 1
        chosen = torch.randint(len(self._latents), (size,), generator=training.stream)
        # Mirror images come after all others and have their captions.
        is_dropped = torch.rand(size, generator=training.stream) < self._dropout
        rows = torch.where(is_dropped, num_images, chosen % num_images)
        with autocast(training.device, self._dtype):
            prompts = self._pipeline.text_encoder(self._tokens[rows].to(training.device))[0]
            losses = denoising_loss(
                self._pipeline.unet,
                self._pipeline.scheduler,
                self._latents.draw(chosen, training.stream),
                Conditioning(tokens=prompts),
                training.stream,
                min_snr_gamma=self._gamma,
            )
        training.update(losses.mean())
        training.monitor.add(number, [losses.mean()])


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
