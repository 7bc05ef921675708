"""Drawing synthetic images again from their manifest rows: with their own generator, or with the base to compare."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.common.images import read_pngs
from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.sampling import Start, cast_weights, draw_pixels
from sdaug.diffusion.versions import Pipeline


def redraw(
    pipeline: Pipeline, images: Sequence[SyntheticImage], prepared_dir: Path, *, title: str
) -> NDArray[np.uint8]:
    """The pixels `(N, H, W, 3)` of images of one class and variant, sampled with their settings, batch size included.

    Raises:
        FileNotFoundError: a photo that one of them started from is gone.
    """
    first = images[0]
    cast_weights(pipeline, first.drawing.precision)
    return draw_pixels(
        pipeline,
        first.prompt,
        first.drawing,
        [image.seed for image in images],
        height=first.height,
        width=first.width,
        title=title,
        start=_read_start(images, prepared_dir),
    )


def _read_start(images: Sequence[SyntheticImage], prepared_dir: Path) -> Start | None:
    strength = images[0].drawing.strength
    if strength is None:
        return None
    paths = [prepared_dir / "images" / f"{image.photo}.png" for image in images]
    for path, image in zip(paths, images, strict=True):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: {image.id} started from this photo; `dvc pull`, or `dvc repro prepare`")
    return Start(photos=read_pngs(paths), strength=strength)
