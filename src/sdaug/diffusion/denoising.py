"""The denoising loss, the training objective of adapting a base, of pretraining and of DreamBooth."""

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel

from sdaug.common.device import to_device
from sdaug.diffusion.conditioning import Conditioning, predict
from sdaug.diffusion.latents import draw_normal


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    prompts: Conditioning,
    stream: torch.Generator,
    *,
    min_snr_gamma: float | None = None,
    noise_offset: float = 0.0,
) -> torch.Tensor:
    """The mean squared error per sample `(B,)` at random timesteps (Ho et al., arXiv 2006.11239, eq. 14).

    Each of P `prompts` applies to B / P consecutive samples. `min_snr_gamma` weights each sample by
    its timestep. `noise_offset` scales additional noise that is constant within a channel, which helps the model learn
    very dark and very light images.

    Raises:
        ValueError: the scheduler's prediction type is not supported.
    """
    # Draw noise and timesteps, from a CPU generator, so that they do not depend on the device.
    noise = draw_normal(latents.shape, stream, latents.device)
    if noise_offset:
        noise = noise + noise_offset * draw_normal((*latents.shape[:2], 1, 1), stream, latents.device)
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=stream)
    timesteps = to_device(timesteps, latents.device)
    losses = loss_at(unet, scheduler, latents, prompts, noise, timesteps)
    return losses if min_snr_gamma is None else losses * snr_weights(scheduler, timesteps, min_snr_gamma)


def loss_at(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    prompts: Conditioning,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
) -> torch.Tensor:
    """The mean squared error per sample `(B,)` for given noise `(B, C, h, w)` and timesteps `(B,)`.

    Raises:
        ValueError: the scheduler's prediction type is not supported.
    """
    noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    # Predict, and compare in float32 at any precision.
    predicted = predict(unet, noisy, timesteps, prompts)
    target = denoising_target(scheduler, latents, noise, timesteps)
    losses: torch.Tensor = F.mse_loss(predicted.float(), target, reduction="none").mean(dim=(1, 2, 3))
    return losses


def denoising_target(
    scheduler: DDIMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """The prediction target `(B, C, h, w)`: the noise, or the velocity (arXiv 2202.00512, appendix D)."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: torch.Tensor = scheduler.get_velocity(latents, noise, timesteps)
        return velocity
    raise ValueError(f"base: the scheduler predicts {kind!r}; supported: epsilon and v_prediction")


def snr_weights(scheduler: DDIMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Min-SNR-gamma loss weights `(B,)` (Hang et al., arXiv 2303.09556).

    min(SNR, gamma) / SNR for noise prediction, min(SNR, gamma) / (SNR + 1) for velocity prediction.
    """
    kept = scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    snr = kept / (1.0 - kept)
    is_velocity = scheduler.config.prediction_type == "v_prediction"
    # min(SNR, gamma) / SNR in a form that is also valid at SNR = 0.
    weights: torch.Tensor = snr.clamp(max=gamma) / (snr + 1.0) if is_velocity else (gamma / snr).clamp(max=1.0)
    return weights.float()
