"""Synthetic images of one class, with a manifest row for each that is enough to draw it again."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.diffusion.sampling import Drawing, DrawnImage, draw_images, draw_pixels
from sdaug.files import read_csv, write_csv
from sdaug.images import save_png
from sdaug.params import convert
from sdaug.precision import name_precision, resolve_precision
from sdaug.seeding import derive_seed

MIN_LEVELS = 8  # grey levels that an image must use; a constant one has 1, a photo dozens
MAX_ATTEMPTS = 10  # seeds for one image before the generator is given up

REASONS = ("not_finite", "constant", "few_levels", "duplicate")


def synthesize(
    pipeline: StableDiffusionPipeline, drawing: Drawing, *, label: str, num_images: int, seed: int, out_dir: Path
) -> dict[str, int]:
    """Write `num_images` PNG files, named by their seeds, and `manifest.csv`; the counts of what was rejected.

    An image that cannot be right is drawn again with the next seed.

    Raises:
        ValueError: the generator draws no acceptable image in several attempts.
    """
    cast_weights(pipeline, drawing)
    # What `auto` means here, since a manifest may be read elsewhere.
    drawing = replace(drawing, precision=name_precision(resolve_precision(drawing.precision, pipeline.device)))
    rejected = dict.fromkeys(REASONS, 0)
    seen: set[bytes] = set()
    rows: dict[int, dict[str, Any]] = {}
    open_indices = list(range(num_images))
    files = []
    with ThreadPoolExecutor(1) as pool:  # files are written while the next batch is drawn
        for attempt in range(MAX_ATTEMPTS):
            seeds = [image_seed(seed, label, index, attempt) for index in open_indices]
            again = []
            images = draw_images(pipeline, drawing, seeds, title=label)
            for index, image in zip(open_indices, images, strict=True):
                reason = find_fault(image, seen)
                if reason:
                    rejected[reason] += 1
                    again.append(index)
                    continue
                rows[index] = manifest_row(image.seed, label, drawing)
                files.append(pool.submit(save_png, out_dir / rows[index]["file"], image.pixels))
            open_indices = again
            if not open_indices:
                break
    for file in files:
        file.result()
    if open_indices:
        raise ValueError(
            f"{label}: {len(open_indices)} of {num_images} images were rejected {MAX_ATTEMPTS} times over "
            f"({', '.join(f'{count} {reason}' for reason, count in rejected.items() if count)}); the generator is "
            "broken: lower dreambooth.learning_rate, or take precision fp32"
        )
    write_csv(out_dir / "manifest.csv", [rows[index] for index in range(num_images)])
    return {"num_images": num_images, **{f"num_{reason}": count for reason, count in rejected.items()}}


def image_seed(seed: int, label: str, index: int, attempt: int) -> int:
    """The seed of an image; a rejected one has further attempts."""
    purpose = (label, index) if attempt == 0 else (label, index, attempt)
    return derive_seed(seed, *purpose) >> 31


def find_fault(image: DrawnImage, seen: set[bytes]) -> str | None:
    """Why an image cannot be right, or None; `seen` remembers the images that can be."""
    if not image.is_finite:
        return "not_finite"
    levels = np.bincount(image.pixels.mean(axis=2).round().astype(np.int64).ravel(), minlength=256)
    num_levels = np.count_nonzero(levels)
    if num_levels <= 1:
        return "constant"
    if num_levels < MIN_LEVELS:
        return "few_levels"
    digest = hashlib.sha256(image.pixels.tobytes()).digest()
    if digest in seen:
        return "duplicate"
    seen.add(digest)
    return None


def cast_weights(pipeline: StableDiffusionPipeline, drawing: Drawing) -> None:
    """Weights in the precision of the drawing, once, instead of at each step."""
    dtype = resolve_precision(drawing.precision, pipeline.device)
    for part in (pipeline.unet, pipeline.vae):
        if part.dtype != dtype:
            part.to(dtype)


def manifest_row(its_seed: int, label: str, drawing: Drawing) -> dict[str, Any]:
    """All that `redraw` needs beside the weights."""
    return {
        "id": f"synthetic-{its_seed:010d}",
        "label": label,
        "file": f"seed_{its_seed:010d}.png",
        "seed": its_seed,
        **asdict(drawing),
    }


def find_row(synthetic_dir: Path, image_id: str) -> dict[str, str]:
    """The manifest row of a synthetic image, from the manifests of all classes.

    Raises:
        ValueError: no manifest has it.
    """
    manifests = sorted(synthetic_dir.glob("*/manifest.csv"))
    for manifest in manifests:
        for row in read_csv(manifest):
            if row["id"] == image_id:
                return row
    raise ValueError(
        f"{image_id}: in none of {len(manifests)} manifests of {synthetic_dir}; an id looks like synthetic-0123456789 "
        "(see manifest.csv in the folder of a class)"
    )


def drawing_of(row: Mapping[str, str], *, where: str) -> Drawing:
    """The settings that a manifest row records."""
    kinds = {field.name: field.type for field in fields(Drawing)}
    values = {name: _number(row[name], kind) for name, kind in kinds.items()}
    drawing: Drawing = convert(values, Drawing, where)
    return drawing


def redraw(pipeline: StableDiffusionPipeline, row: Mapping[str, str]) -> NDArray[np.uint8]:
    """The `(H, W, 3)` image of a manifest row, drawn again in a batch of the size it was drawn in."""
    drawing = drawing_of(row, where=row["id"])
    cast_weights(pipeline, drawing)
    return np.asarray(draw_pixels(pipeline, drawing, [int(row["seed"])], title=row["id"])[0])


def _number(text: str, kind: Any) -> Any:
    return kind(text) if kind in (int, float) else text
