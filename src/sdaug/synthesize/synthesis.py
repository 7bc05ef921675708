"""Generating the synthetic images of one class; faulty images are rejected and resampled with another seed."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline

from sdaug.common.images import save_png
from sdaug.common.params import Drawing
from sdaug.common.precision import name_precision, resolve_precision
from sdaug.common.seeding import derive_seed
from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.sampling import DrawnImage, cast_weights, draw_images

MIN_LEVELS = 8  # distinct grey levels an image needs; a constant one has 1, a photo dozens
MAX_ATTEMPTS = 10  # seeds tried per image before giving up on the generator

REASONS = ("not_finite", "constant", "few_levels", "duplicate")


def synthesize(
    pipeline: StableDiffusionPipeline,
    prompt: str,
    drawing: Drawing,
    *,
    label: str,
    size_pixels: int,
    num_images: int,
    draw: int,
    out_dir: Path,
) -> tuple[list[SyntheticImage], dict[str, int]]:
    """Write `num_images` PNG files of one draw, named by seed; returns their records and the rejected ones by reason.

    Raises:
        ValueError: an image was rejected `MAX_ATTEMPTS` times.
    """
    cast_weights(pipeline, drawing.precision)
    # Resolve `auto`, since the manifest may be read on another machine.
    drawing = replace(drawing, precision=name_precision(resolve_precision(drawing.precision, pipeline.device)))
    rejected = dict.fromkeys(REASONS, 0)
    seen: set[bytes] = set()
    kept: dict[int, SyntheticImage] = {}
    open_indices = list(range(num_images))
    files = []
    with ThreadPoolExecutor(1) as pool:  # files are written while the next batch is sampled
        for attempt in range(MAX_ATTEMPTS):
            # A seed depends on the image's index, not on how many images are drawn.
            seeds = [image_seed(draw, label, index, attempt) for index in open_indices]
            again = []
            images = draw_images(pipeline, prompt, drawing, seeds, height=size_pixels, width=size_pixels, title=label)
            for index, image in zip(open_indices, images, strict=True):
                reason = find_fault(image, seen)
                if reason:
                    rejected[reason] += 1
                    again.append(index)
                    continue
                kept[index] = SyntheticImage(
                    label=label,
                    draw=draw,
                    seed=image.seed,
                    prompt=prompt,
                    height=size_pixels,
                    width=size_pixels,
                    drawing=drawing,
                )
                files.append(pool.submit(save_png, out_dir / kept[index].file_name, image.pixels))
            open_indices = again
            if not open_indices:
                break
    # Wait for the files; a failed write raises here.
    for file in files:
        file.result()
    if open_indices:
        raise ValueError(
            f"{label}: {len(open_indices)} of {num_images} images were rejected {MAX_ATTEMPTS} times in a row "
            f"({', '.join(f'{count} {reason}' for reason, count in rejected.items() if count)}); the generator is "
            "broken: lower dreambooth.learning_rate, or use precision fp32"
        )
    # In order of index, whichever images were drawn again.
    counts = {"num_images": num_images, **{f"num_{reason}": count for reason, count in rejected.items()}}
    return [kept[index] for index in range(num_images)], counts


def image_seed(draw: int, label: str, index: int, attempt: int) -> int:
    """The seed of an image; each further attempt after a rejection has its own."""
    purpose = (label, index) if attempt == 0 else (label, index, attempt)
    return derive_seed(draw, *purpose) >> 31  # 32 bits: the ten digits of a file name


def find_fault(image: DrawnImage, seen: set[bytes]) -> str | None:
    """The reason to reject an image, or None; the hash of an accepted image is added to `seen`."""
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
