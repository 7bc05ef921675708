"""Prepared photos by id: the pixels that generators are shown."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.images import read_png
from sdaug.manifest import Photo


def read_photos(prepared_dir: Path, photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """`(N, H, W, 3)` pixels, in the order of `photos`."""
    if not photos:
        raise ValueError(f"{prepared_dir}: no photos to read; is there a class without training photos?")
    return np.stack([read_png(prepared_dir / "images" / photo.file_name) for photo in photos])
