"""Between images, prompts and what the UNet works on: posteriors of the VAE, and embeddings of the text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.common.device import to_device


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
        chosen = to_device(chosen, self.mean.device)
        mean, std = self.mean[chosen], self.std[chosen]
        return mean + std * draw_normal(mean.shape, stream, mean.device)


def draw_normal(shape: Sequence[int], stream: torch.Generator, device: torch.device) -> torch.Tensor:
    """Standard normal noise from a CPU generator, on its way to the device while the host goes on."""
    return to_device(torch.randn(shape, generator=stream), device)


def to_pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """`(N, H, W, 3)` uint8 as `(N, 3, H, W)` float32 in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous()


@torch.no_grad()
def encode_images(vae: AutoencoderKL, pixels: torch.Tensor, *, flip_horizontal: bool) -> Latents:
    """Each image's posterior, and its mirror image's if asked: encoded once, drawn anew at each training step."""
    if flip_horizontal:
        pixels = torch.cat([pixels, pixels.flip(-1)])
    batches = pixels.split(vae_batch_size(*pixels.shape[-2:]))
    parts = [vae.encode(part.to(vae.device)).latent_dist for part in batches]
    return Latents(mean=torch.cat([p.mean for p in parts]), std=torch.cat([p.std for p in parts]))


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is left of `(N, H, W, 3)` images after the VAE: the most that any synthetic image can carry."""
    batches = to_pixels(images).split(vae_batch_size(*images.shape[1:3]))
    parts = [vae.decode(vae.encode(part.to(vae.device)).latent_dist.mean).sample for part in batches]
    pixels = torch.cat(parts).add(1.0).mul(127.5).round().clamp(0, 255).byte()
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def vae_batch_size(height: int, width: int) -> int:
    """How many images a VAE meets at once: large ones would take more memory than the UNet does."""
    return max(1, min(16, 2**20 // (height * width)))


@torch.no_grad()
def encode_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> list[torch.Tensor]:
    """One `(1, T, D)` embedding a prompt, as the pipeline itself would make it."""
    return [
        pipeline.encode_prompt(prompt, pipeline.device, 1, do_classifier_free_guidance=False)[0] for prompt in prompts
    ]
