"""The twins of an arm's training photos: the same photos as the base's VAE returns them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdaug.common.packed import TWIN, twin_id
from sdaug.datasets.arms import Example


def find_twins(examples: Sequence[Example], reconstructed_dir: Path) -> list[Example]:
    """The twins of the real training photos, in their order; a part of their own, so that none trains by itself.

    Raises:
        FileNotFoundError: a photo has not been reconstructed.
    """
    photos = [example for example in examples if example.origin == "real" and example.part == "train"]
    absent = [photo for photo in photos if not (reconstructed_dir / photo.source.name).is_file()]
    if absent:
        raise FileNotFoundError(f"{reconstructed_dir / absent[0].source.name}: missing; run `dvc repro reconstruct`")
    return [
        replace(
            photo,
            id=twin_id(photo.id),
            origin="reconstructed",
            part=TWIN,
            source=reconstructed_dir / photo.source.name,
        )
        for photo in photos
    ]
