"""The images and captions of a pretraining, drawn once and kept beside its checkpoints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdaug.common.files import read_csv, read_json, write_json
from sdaug.common.progress import progress
from sdaug.common.seeding import numpy_stream
from sdaug.pretrain.params import WorldParams, key_of
from sdaug.pretrain.worlds import Picture, draw_leaves, draw_object, draw_teat


def collect(params: WorldParams, work_dir: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Images `(N, H, W, 3)` and their captions; read from `work_dir` if they were drawn with the same params before.

    Raises:
        ValueError: a package that the photos come with is not installed.
    """
    key = key_of(params)
    images_path, captions_path = work_dir / "images.npy", work_dir / "captions.json"
    if captions_path.is_file() and read_json(captions_path)["key"] == key:
        return np.load(images_path, mmap_mode="r"), read_json(captions_path)["captions"]
    pictures = list(progress(_draw_all(params), title="worlds", total=count(params), unit="image"))
    work_dir.mkdir(parents=True, exist_ok=True)
    captions_path.unlink(missing_ok=True)  # or, stopped between the two, it would belong to other images
    np.save(images_path, np.stack([image for image, _ in pictures]))
    write_json(captions_path, {"key": key, "captions": [caption for _, caption in pictures]})
    return collect(params, work_dir)


def count(params: WorldParams) -> int:
    """The number of images."""
    return params.num_teats + params.num_leaves + params.num_objects + params.num_photos


def _draw_all(params: WorldParams) -> Iterator[Picture]:
    seed, size = params.seed, params.size_pixels
    photos = _read_photos(params.photos)
    draw_one_teat = partial(draw_teat, scores=params.teat_scores)
    kinds = ((draw_one_teat, params.num_teats), (draw_leaves, params.num_leaves), (draw_object, params.num_objects))
    jobs = [joblib.delayed(draw)(seed, index, size) for draw, number in kinds for index in range(number)]
    # Processes take a second to start.
    num_workers = -1 if len(jobs) > 1000 else 1
    yield from joblib.Parallel(n_jobs=num_workers, return_as="generator", pre_dispatch="8*n_jobs")(jobs)
    yield from (_cut(photos, seed, index, size) for index in range(params.num_photos))


@dataclass(frozen=True, kw_only=True)
class SourcePhoto:
    """A photo that comes with an installed package, and what it shows."""

    pixels: Image.Image
    caption: str


def _read_photos(table: Path | None) -> list[SourcePhoto]:
    """The photos in a table of packages, files, captions and licences.

    Raises:
        ValueError: a package is not installed.
    """
    found = []
    for row in read_csv(table) if table else []:
        try:
            folder = files(row["package"])
        except ModuleNotFoundError as error:
            rule = "not installed; `uv pip install scikit-image`, or num_photos: 0 and no photos"
            raise ValueError(f"{table}: {row['file']}: package {row['package']} is {rule}") from error
        with as_file(folder / row["file"]) as path, Image.open(path) as opened:
            found.append(SourcePhoto(pixels=opened.convert("RGB"), caption=row["caption"]))
    return found


def _cut(photos: Sequence[SourcePhoto], seed: int, index: int, size: int) -> Picture:
    """A square of a random photo, mirrored at random, from near to far: as many at each scale."""
    rng = numpy_stream(seed, "photo", index)
    photo = photos[int(rng.integers(len(photos)))]
    shorter = min(photo.pixels.size)
    side = round(size * (shorter / size) ** rng.uniform(0.3, 1.0))
    left, top = (int(rng.integers(length - side + 1)) for length in photo.pixels.size)
    box = (left, top, left + side, top + side)
    cut = np.asarray(photo.pixels.resize((size, size), Image.Resampling.LANCZOS, box=box))
    caption = photo.caption if side > 0.5 * shorter else f"{photo.caption}, near"
    return np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut), caption
