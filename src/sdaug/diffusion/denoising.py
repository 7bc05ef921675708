"""The training objective that base and DreamBooth share: cached latents, prompts, and the denoising loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel


@dataclass(frozen=True)
class Latents:
    """Posteriors of N images: `mean` and `std` are `(N, C, h, w)`, multiplied by the VAE's scaling factor."""

    mean: torch.Tensor
    std: torch.Tensor

    def __len__(self) -> int:
        return len(self.mean)

    def spread(self) -> float:
        """The standard deviation of a drawn latent, over all images and places."""
        return float((self.mean.var() + self.std.square().mean()).sqrt())

    def scaled(self, factor: float) -> "Latents":
        return Latents(mean=self.mean * factor, std=self.std * factor)

    def draw(self, chosen: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        """New latents `(B, C, h, w)` of the chosen images, as an encoder run at this step would draw them."""
        mean, std = self.mean[chosen], self.std[chosen]
        return mean + std * torch.randn(mean.shape, generator=stream).to(mean.device)


@torch.no_grad()
def encode_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> list[torch.Tensor]:
    """One `(1, T, D)` embedding a prompt, as the pipeline itself would make it."""
    encoded = [
        pipeline.encode_prompt(prompt, pipeline.device, 1, do_classifier_free_guidance=False)[0] for prompt in prompts
    ]
    return [embedding.detach() for embedding in encoded]


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    latents: torch.Tensor,
    prompts: torch.Tensor,
    stream: torch.Generator,
) -> torch.Tensor:
    """The squared error of each sample `(B,)` at a random timestep (Ho et al., arXiv 2006.11239, eq. 14)."""
    noise = torch.randn(latents.shape, generator=stream).to(latents.device)
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(latents),), generator=stream)
    timesteps = timesteps.to(latents.device)
    noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    predicted = unet(noisy, timesteps, encoder_hidden_states=prompts).sample
    target = denoising_target(scheduler, latents, noise, timesteps)
    losses: torch.Tensor = F.mse_loss(predicted.float(), target, reduction="none").mean(dim=(1, 2, 3))
    return losses


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
