"""A few examples of each step from a photo to a generated image, for the report to show.

The VAE's reconstruction shows what no generated image can be sharper than. An image of the base and one of the
generator, from the same noise, show what DreamBooth adds.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.common.images import save_png
from sdaug.common.seeding import numpy_stream
from sdaug.common.synthetic import SyntheticImage
from sdaug.fidelity.photo_parts import PhotoPart

NUM_EXAMPLES = 3  # per class


def choose_images(images: Sequence[SyntheticImage], class_prompt: str) -> list[SyntheticImage]:
    """The first images of a class's first draw, with the class prompt: what the base is to draw from their noise."""
    first = images[0]
    alike = [image for image in images if (image.draw, image.drawing) == (first.draw, first.drawing)]
    return [replace(image, prompt=class_prompt) for image in alike[:NUM_EXAMPLES]]


def write_examples(
    folder: Path,
    training: PhotoPart,
    class_index: int,
    images: Sequence[SyntheticImage],
    drawn: NDArray[np.uint8],
    *,
    seed: int,
) -> list[dict[str, str]]:
    """Write photos of a class as the VAE returns them, and images `(N, H, W, 3)` that the base drew.

    Photos are those that the images started from, if any.

    Returns a row per example: its class, photo and synthetic image, and the two files. There are as many as both kinds
    allow.
    """
    of_class = np.flatnonzero(training.labels == class_index)
    chosen = numpy_stream(seed, "steps", class_index).permutation(of_class)
    rows = []
    places = {photo.id: place for place, photo in enumerate(training.photos)}
    for other, image, pixels in zip(chosen, images, drawn, strict=False):
        index = places[image.photo] if image.photo else other  # the photo that the image started from, if any
        photo = training.photos[index]
        row = {
            "label": image.label,
            "photo": photo.id,
            "reconstructed": f"reconstructed_{photo.id}.png",
            "base": f"base_{image.id}.png",
            "synthetic": image.id,
        }
        save_png(folder / row["reconstructed"], training.reconstructed[index])
        save_png(folder / row["base"], pixels)
        rows.append(row)
    return rows
