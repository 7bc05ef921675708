"""Synthetic images of one class, with a manifest row for each that is enough to draw it again."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from sdaug.diffusion.sampling import Drawing, draw_images
from sdaug.files import write_csv
from sdaug.images import save_png
from sdaug.seeding import derive_seed


def synthesize(
    pipeline: StableDiffusionPipeline, drawing: Drawing, *, label: str, num_images: int, seed: int, out_dir: Path
) -> None:
    """Write `num_images` PNG files, named by their seeds, and `manifest.csv`."""
    write_csv(out_dir / "manifest.csv", list(_draw_and_save(pipeline, drawing, label, num_images, seed, out_dir)))


def _draw_and_save(
    pipeline: StableDiffusionPipeline, drawing: Drawing, label: str, num_images: int, seed: int, out_dir: Path
) -> Iterator[dict[str, Any]]:
    seeds = [derive_seed(seed, label, index) >> 31 for index in range(num_images)]
    for image_seed, pixels in draw_images(pipeline, drawing, seeds, title=label):
        file_name = f"seed_{image_seed:010d}.png"
        save_png(out_dir / file_name, pixels)
        yield {
            "id": f"synthetic-{image_seed:010d}",
            "label": label,
            "file": file_name,
            "seed": image_seed,
            **asdict(drawing),
        }
