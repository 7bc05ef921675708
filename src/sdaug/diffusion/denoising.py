"""The training objective that base and DreamBooth share: the denoising loss."""

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel

from sdaug.common.device import to_device
from sdaug.diffusion.latents import draw_normal


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    prompts: torch.Tensor,
    stream: torch.Generator,
    *,
    min_snr_gamma: float | None = None,
    noise_offset: float = 0.0,
) -> torch.Tensor:
    """The squared error of each sample `(B,)` at a random timestep (Ho et al., arXiv 2006.11239, eq. 14).

    `prompts` is `(P, T, D)`, each for the next B / P samples. `min_snr_gamma` weights each sample by its own timestep;
    `noise_offset` adds that much noise of one shade to each channel, so that very dark and very light images are
    learned as well.
    """
    noise = draw_normal(latents.shape, stream, latents.device)
    if noise_offset:
        noise = noise + noise_offset * draw_normal((*latents.shape[:2], 1, 1), stream, latents.device)
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=stream)
    timesteps = to_device(timesteps, latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    predicted = unet(noisy, timesteps, encoder_hidden_states=prompts).sample
    target = denoising_target(scheduler, latents, noise, timesteps)
    losses: torch.Tensor = F.mse_loss(predicted.float(), target, reduction="none").mean(dim=(1, 2, 3))
    return losses if min_snr_gamma is None else losses * snr_weights(scheduler, timesteps, min_snr_gamma)


def denoising_target(
    scheduler: DDIMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """What the UNet has to predict: the noise, or the velocity (arXiv 2202.00512, appendix D)."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: torch.Tensor = scheduler.get_velocity(latents, noise, timesteps)
        return velocity
    raise ValueError(f"base: a scheduler that predicts {kind!r}; supported are epsilon and v_prediction")


def snr_weights(scheduler: DDIMScheduler, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weights `(B,)` of min-SNR-gamma (Hang et al., arXiv 2303.09556): min(SNR, gamma) over the weight in x-space.

    That weight is SNR where noise is predicted, and SNR + 1 where velocity is.
    """
    kept = scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    snr = kept / (1.0 - kept)
    is_velocity = scheduler.config.prediction_type == "v_prediction"
    # min(SNR, gamma) / SNR is written so that it holds where SNR is 0, too.
    weights: torch.Tensor = snr.clamp(max=gamma) / (snr + 1.0) if is_velocity else (gamma / snr).clamp(max=1.0)
    return weights.float()
