"""Packing the images of an arm or of the test set into one array."""

from collections.abc import Sequence
from pathlib import Path

from sdaug.common.files import fresh_dir
from sdaug.common.manifest import Photo
from sdaug.common.packed import reconstructed_id, write_packed
from sdaug.datasets.arms import Example


def pack_examples(examples: Sequence[Example], photos: Sequence[Photo], out: Path) -> None:
    """Write the array and its table to `out`.

    A synthetic image is in the group of the photo that it started from, a reconstructed or repeated photo in that of
    the photo; any other image that is not a prepared photo is a group of its own.
    """
    groups = {name: photo.group for photo in photos for name in (photo.id, reconstructed_id(photo.id))}
    rows = [
        {
            "id": example.id,
            "group": groups.get(example.photo or example.id, example.id),
            "label": example.label,
            "origin": example.origin,
            "part": example.part,
            "draw": "" if example.draw is None else str(example.draw),
        }
        for example in examples
    ]
    with fresh_dir(out) as out_dir:
        write_packed(out_dir, [example.source for example in examples], rows)
