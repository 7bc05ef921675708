"""Images that the base draws for the class prompt: what prior preservation holds on to, the same for every class."""

from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.diffusion.dreambooth_params import ClassImagesParams
from sdaug.diffusion.sampling import Drawing, draw_pixels
from sdaug.images import read_png, save_png
from sdaug.seeding import derive_seed


def draw_class_images(
    pipeline: StableDiffusionPipeline, params: ClassImagesParams, *, size_pixels: int
) -> NDArray[np.uint8]:
    """`(N, H, W, 3)` images of the class prompt."""
    drawing = Drawing(
        prompt=params.prompt,
        negative_prompt="",
        guidance_scale=params.guidance_scale,
        inference_steps=params.inference_steps,
        sampler=params.sampler,
        height=size_pixels,
        width=size_pixels,
        batch_size=params.batch_size,
        precision=params.precision,
    )
    seeds = [derive_seed(params.seed, "class image", index) for index in range(params.num_images)]
    return draw_pixels(pipeline, drawing, seeds, title="class images")


def save_class_images(images: NDArray[np.uint8], out_dir: Path) -> None:
    """One PNG file an image, by its number."""
    for index, pixels in enumerate(images):
        save_png(out_dir / f"{index:04d}.png", pixels)


def read_class_images(folder: Path) -> NDArray[np.uint8]:
    """`(N, H, W, 3)` images in the order they were drawn."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise FileNotFoundError(f"{folder}: no images; run `dvc repro class_images`")
    return np.stack([read_png(file) for file in files])
