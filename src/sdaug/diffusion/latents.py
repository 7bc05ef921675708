"""Inputs of the UNet: latents from the VAE."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from sdaug.common.device import to_device


@dataclass(frozen=True)
class Latents:
    """VAE posteriors of N images, `mean` and `std` `(N, C, h, w)`; see `scaled` for the VAE's scaling factor."""

    mean: torch.Tensor
    std: torch.Tensor

    def __len__(self) -> int:
        return len(self.mean)

    def spread(self) -> float:
        """The standard deviation of sampled latents, over all images, channels and positions."""
        # Law of total variance: the variance of the means plus the mean of the variances.
        return float((self.mean.var() + self.std.square().mean()).sqrt())

    def image_size(self, vae_scale_factor: int) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        height, width = self.mean.shape[-2:]
        return height * vae_scale_factor, width * vae_scale_factor

    def scaled(self, factor: float) -> "Latents":
        return Latents(mean=self.mean * factor, std=self.std * factor)

    def draw(self, chosen: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        """Latents `(B, C, h, w)` of the chosen images, sampled anew from their posteriors."""
        chosen = to_device(chosen, self.mean.device)
        mean, std = self.mean[chosen], self.std[chosen]
        return mean + std * draw_normal(mean.shape, stream, mean.device)


def draw_normal(shape: Sequence[int], stream: torch.Generator, device: torch.device) -> torch.Tensor:
    """Standard normal noise from a CPU generator, copied to the device asynchronously."""
    return to_device(torch.randn(shape, generator=stream), device)


def to_pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """A batch `(B, H, W, 3)` in uint8 as pixels `(B, 3, H, W)` in float32 in [-1, 1]: four times the memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous()


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: NDArray[np.uint8], *, flip_horizontal: bool) -> Latents:
    """Unscaled posteriors of images `(N, H, W, 3)`; `flip_horizontal` appends those of the mirror images.

    Only one batch at a time is float32: 5,000 photos of 512 x 512 are 4 GB in uint8, with their mirror images 31 GB in
    float32.
    """
    N, H, W, _ = images.shape
    parts = []
    size, num_wanted = vae_batch_size(H, W), 2 * N if flip_horizontal else N
    for start in range(0, num_wanted, size):
        # A mirror image needs its own posterior, because the encoder is not symmetric. A batch can have both kinds.
        first, last = max(0, start - N), max(0, min(start + size, num_wanted) - N)
        batch = np.concatenate([images[start : start + size], images[first:last, :, ::-1]])
        parts.append(vae.encode(to_pixels(batch).to(vae.device)).latent_dist)
    return Latents(mean=torch.cat([p.mean for p in parts]), std=torch.cat([p.std for p in parts]))


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images `(N, H, W, 3)` encoded and decoded by the VAE: an upper bound on the quality of synthetic images."""
    reconstructed, size = np.empty_like(images), vae_batch_size(*images.shape[1:3])
    for start in range(0, len(images), size):
        batch = to_pixels(images[start : start + size]).to(vae.device)
        pixels = vae.decode(vae.encode(batch).latent_dist.mean).sample.add(1.0).mul(127.5).round().clamp(0, 255)
        reconstructed[start : start + size] = pixels.byte().permute(0, 2, 3, 1).cpu().numpy()
    return reconstructed


def vae_batch_size(height: int, width: int) -> int:
    """The VAE's batch size; without a limit, large images would need more memory than the UNet does."""
    # 2**20 pixels are four images of 512 x 512.
    return max(1, min(16, 2**20 // (height * width)))
