"""Copies: synthetic images that are nearer to one training photo than new photos are.

The criterion is relative (Carlini et al., arXiv 2301.13188): the distance to the nearest training photo, divided by the
mean distance to the next ones. A copy is much nearer to one photo than to all others, wherever photos are dense. It is
called so below the first percentile of held-out photos, which cannot be copies. Planted copies tell how much is found
(as in Dar et al., arXiv 2402.01054).

All photos are compared as the VAE returns them, since each synthetic image comes from the VAE too: compared with sharp
photos, only 69 % of the default study's training photos are found after they went through its VAE (git show c8fdb46).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from sklearn.metrics import pairwise_distances

from sdaug.classify.features import Vectors

Images = NDArray[np.uint8]

NUM_OTHERS = 10  # neighbours after the nearest one
EPSILON = 1.0e-9
CELLS_AT_ONCE = 2**25  # distances that are held at once, 256 MiB: bounds the memory for many photos
PERCENTILE = 1.0  # of held-out photos
JPEG_QUALITY = 75
BLUR_FRACTION = 0.02  # of the width: 1 pixel of 48
CROP_FRACTION = 0.04  # of the width, on each side


@dataclass(frozen=True)
class Nearest:
    """The nearest training photo of each image: its index, its distance, and that relative to the next photos."""

    index: NDArray[np.int64]
    distance: Vectors
    ratio: Vectors


class CopyDetector:
    """The training photos, and the ratio below which an image counts as a copy."""

    def __init__(self, training: Vectors, mirrored: Vectors, held_out: Vectors) -> None:
        """Take features of training photos `(N, D)`, of their mirror images `(N, D)`, and of held-out photos."""
        # Generators also learn mirrored photos.
        self._training = (training, mirrored)
        self.threshold = float(np.percentile(self.nearest(held_out).ratio, PERCENTILE))

    def nearest(self, images: Vectors) -> Nearest:
        """The nearest training photo of each image `(M, D)`."""
        num_rows = max(1, CELLS_AT_ONCE // len(self._training[0]))
        parts = [self._nearest(images[start : start + num_rows]) for start in range(0, max(1, len(images)), num_rows)]
        return Nearest(
            index=np.concatenate([part.index for part in parts]),
            distance=np.concatenate([part.distance for part in parts]),
            ratio=np.concatenate([part.ratio for part in parts]),
        )

    def copies(self, images: Vectors) -> NDArray[np.bool_]:
        """Which of the images `(M, D)` count as copies."""
        return self.are_copies(self.nearest(images))

    def are_copies(self, nearest: Nearest) -> NDArray[np.bool_]:
        """Which images count as copies, by their nearest photos."""
        return nearest.ratio < self.threshold

    def _nearest(self, images: Vectors) -> Nearest:
        distances = np.minimum(*(pairwise_distances(images, photos) for photos in self._training))
        index = distances.argmin(axis=1)
        # Only as many as are needed are sorted.
        some = min(1 + NUM_OTHERS, distances.shape[1])
        ordered = np.sort(np.partition(distances, some - 1, axis=1)[:, :some], axis=1)
        return Nearest(
            index=index,
            distance=ordered[:, 0],
            # Not zero over zero where many training photos are the same.
            ratio=ordered[:, 0] / (ordered[:, 1:].mean(axis=1) + EPSILON),
        )


def plant_copies(photos: Images) -> Mapping[str, Images]:
    """Photos `(N, H, W, 3)` altered in each of several ways: what copies may look like."""
    return {
        name: np.stack([np.asarray(alter(Image.fromarray(photo))) for photo in photos])
        for name, alter in ALTERATIONS.items()
    }


def _as_jpeg(image: Image.Image) -> Image.Image:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return Image.open(stream)


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(BLUR_FRACTION * image.width))


def _cropped(image: Image.Image) -> Image.Image:
    margin = max(1, round(CROP_FRACTION * image.width))
    return ImageOps.crop(image, margin).resize(image.size, Image.Resampling.BICUBIC)


ALTERATIONS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": _as_jpeg,
    "blur": _blurred,
    "mirror": ImageOps.mirror,
    "crop": _cropped,
}
