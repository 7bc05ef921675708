"""Reading, writing, resizing and tiling images."""

import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PNG_LEVEL = 1  # level 6 takes as long as sampling does, and the files are only slightly smaller


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write `(H, W, 3)` pixels as a PNG file without metadata; the file is whole, or not there."""
    # Copies of a photo have one name, and several threads may write it at once.
    scratch = path.with_name(f".{path.name}.{threading.get_native_id()}.partial")
    Image.fromarray(pixels).save(scratch, format="PNG", compress_level=PNG_LEVEL)
    scratch.replace(path)


def read_png(path: Path) -> NDArray[np.uint8]:
    """The `(H, W, 3)` pixels of a prepared or synthetic image."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_pngs(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """The pixels `(N, H, W, 3)` of images of one size, in one array: a list to stack would take twice the memory.

    Raises:
        ValueError: their sizes differ.
    """
    first = read_png(paths[0])
    pixels = np.empty((len(paths), *first.shape), np.uint8)
    for index, path in enumerate(paths):
        image = first if index == 0 else read_png(path)
        if image.shape != first.shape:
            sizes = f"{image.shape[1]}x{image.shape[0]} pixels, but {paths[0]} has {first.shape[1]}x{first.shape[0]}"
            raise ValueError(f"{path}: {sizes}; all must have one size; run `dvc repro`")
        pixels[index] = image
    return pixels


def resize(pixels: NDArray[np.uint8], *, size_pixels: int) -> NDArray[np.uint8]:
    """Square `(H, W, 3)` pixels resampled to `size_pixels` with a Lanczos filter."""
    if pixels.shape[:2] == (size_pixels, size_pixels):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size_pixels, size_pixels), Image.Resampling.LANCZOS))


def grid(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], *, tile_pixels: int, columns: int) -> Image.Image:
    """Labelled rows of at most `columns` images, each resized to `tile_pixels`."""
    label_width, label_letters, gap = 150, 24, 2
    width = label_width + columns * (tile_pixels + gap)
    # At least one row high: a PNG of height 0 is invalid.
    sheet = Image.new("RGB", (width, max(1, len(rows)) * (tile_pixels + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    # Each row: its label at half height, then its images.
    for r, (label, images) in enumerate(rows):
        top = r * (tile_pixels + gap)
        lines = textwrap.wrap(label, label_letters)
        draw.text((4, top + tile_pixels // 2 - 6 * len(lines)), "\n".join(lines), fill="black")
        for c, pixels in enumerate(images[:columns]):
            sheet.paste(
                Image.fromarray(resize(pixels, size_pixels=tile_pixels)), (label_width + c * (tile_pixels + gap), top)
            )
    return sheet
