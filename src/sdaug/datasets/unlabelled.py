"""The test photos as transductive classifiers get them: pixels in an order that tells nothing of their labels."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.common.files import write_text
from sdaug.common.packed import IMAGES


def write_unlabelled(out: Path, images: NDArray[np.uint8], methods: Mapping[str, str]) -> None:
    """Write a folder per classifier into `out`: with images `(N, H, W, 3)` if its method is sctl, else with none."""
    for model, method in methods.items():
        folder = out / model
        folder.mkdir()
        if method == "sctl":
            np.save(folder / IMAGES, order_by_pixels(images))
        else:  # with a file, since not every remote keeps an empty folder
            write_text(folder / "none.txt", f"method: {method} sees no test photo\n")


def order_by_pixels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images `(N, H, W, 3)` by the hashes of their pixels: packed, their order may follow their classes."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return np.asarray(images)[sorted(range(len(images)), key=lambda row: digests[row])]
