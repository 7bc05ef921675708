"""Class images for prior preservation: samples of the base for the class prompt, shared by all classes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.common.faults import MAX_ATTEMPTS, draw_sound
from sdaug.common.images import read_pngs, save_png
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.sampling import DrawnImage, draw_images
from sdaug.diffusion.versions import Pipeline
from sdaug.dreambooth.params import ClassImagesParams


def draw_class_images(pipeline: Pipeline, params: ClassImagesParams, *, size_pixels: int) -> NDArray[np.uint8]:
    """Images `(N, H, W, 3)` sampled for the class prompt; one with a fault is drawn again with another seed.

    Raises:
        ValueError: an image had a fault `MAX_ATTEMPTS` times.
    """

    def draw(indices: Sequence[int], attempt: int) -> Iterator[DrawnImage]:
        return draw_images(
            pipeline,
            params.prompt,
            params.drawing,
            [_seed(params.seed, index, attempt) for index in indices],
            height=size_pixels,
            width=size_pixels,
            title="class images",
        )

    faults = Counter[str]()
    drawn = dict(draw_sound(draw, range(params.num_images), faults))
    num_missing = params.num_images - len(drawn)
    if num_missing:
        named = ", ".join(f"{count} {fault}" for fault, count in faults.items())
        raise ValueError(
            f"class_images: {num_missing} of {params.num_images} images had a fault {MAX_ATTEMPTS} times in a row "
            f"({named}); the base cannot draw them so: set class_images.drawing.precision: fp32, or check base.model"
        )
    return np.stack([drawn[index].pixels for index in range(params.num_images)])


def _seed(seed: int, index: int, attempt: int) -> int:
    """The seed of an image; each further attempt has its own."""
    return derive_seed(seed, "class image", index, *([attempt] if attempt else []))


def save_class_images(images: NDArray[np.uint8], out_dir: Path) -> None:
    """Save each image `(H, W, 3)` as a numbered PNG file."""
    for index, pixels in enumerate(images):
        save_png(out_dir / f"{index:04d}.png", pixels)


def read_class_images(folder: Path) -> NDArray[np.uint8]:
    """The saved images `(N, H, W, 3)` in order.

    Raises:
        FileNotFoundError: the folder has no images.
    """
    files = sorted(folder.glob("*.png"))
    if not files:
        raise FileNotFoundError(f"{folder}: no images; run `dvc repro class_images`")
    return read_pngs(files)
