"""Class images for prior preservation: samples of the base for the class prompt, shared by all classes."""

from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.common.images import read_pngs, save_png
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.sampling import draw_pixels
from sdaug.dreambooth.params import ClassImagesParams


def draw_class_images(
    pipeline: StableDiffusionPipeline, params: ClassImagesParams, *, size_pixels: int
) -> NDArray[np.uint8]:
    """Images `(N, H, W, 3)` sampled for the class prompt."""
    seeds = [derive_seed(params.seed, "class image", index) for index in range(params.num_images)]
    return draw_pixels(
        pipeline,
        params.prompt,
        params.drawing,
        seeds,
        height=size_pixels,
        width=size_pixels,
        title="class images",
    )


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
