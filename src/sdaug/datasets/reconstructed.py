"""An arm's training photos reconstructed: the same photos as the base's VAE returns them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdaug.common.packed import RECONSTRUCTED, reconstructed_id
from sdaug.datasets.arms import Example


def find_reconstructed(examples: Sequence[Example], reconstructed_dir: Path) -> list[Example]:
    """The real training photos reconstructed, in their order; a part of their own, so that none trains by itself.

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
            id=reconstructed_id(photo.id),
            origin="reconstructed",
            part=RECONSTRUCTED,
            source=reconstructed_dir / photo.source.name,
        )
        for photo in photos
    ]
