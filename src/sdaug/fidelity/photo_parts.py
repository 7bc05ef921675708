"""Real photos as the measures need them: as they are, and as the VAE returns them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from sdaug.common.manifest import Photo, label_indices, read_photos
from sdaug.diffusion.latents import reconstruct


@dataclass(frozen=True, kw_only=True)
class PhotoPart:
    """Some photos of a study: pixels `(N, H, W, 3)`, the same reconstructed by the VAE, and class indices `(N,)`."""

    photos: list[Photo]
    pixels: NDArray[np.uint8]
    reconstructed: NDArray[np.uint8]
    labels: NDArray[np.int64]

    @property
    def groups(self) -> list[str]:
        return [photo.group for photo in self.photos]


def read_part(prepared_dir: Path, photos: Sequence[Photo], classes: Sequence[str], vae: AutoencoderKL) -> PhotoPart:
    """Read prepared photos and pass them through the VAE."""
    pixels = read_photos(prepared_dir, photos)
    return PhotoPart(
        photos=list(photos),
        pixels=pixels,
        reconstructed=reconstruct(vae, pixels),
        labels=label_indices(photos, classes),
    )
