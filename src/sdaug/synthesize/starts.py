"""The training photos that synthetic images start from (SDEdit, Meng et al., arXiv 2108.01073)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.common.manifest import Photo, count_labels, read_photos
from sdaug.common.params import SynthesisDrawing
from sdaug.common.seeding import numpy_stream
from sdaug.diffusion.sampling import Start


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Photos to start from, as ids and pixels `(N, H, W, 3)`, in a random order; image `index` takes its turn."""

    ids: Sequence[str]
    pixels: NDArray[np.uint8]
    strength: float

    def photo_id(self, index: int) -> str:
        """The photo that an image starts from."""
        return self.ids[index % len(self.ids)]

    def start(self, indices: Sequence[int]) -> Start:
        """The photos of several images."""
        return Start(photos=self.pixels[[index % len(self.ids) for index in indices]], strength=self.strength)


def read_sources(
    prepared_dir: Path, seen: Sequence[Photo], classes: Sequence[str], label: str, drawing: SynthesisDrawing, draw: int
) -> Sources | None:
    """The photos for the images of one class and draw, or None if these start from noise.

    `seen` are the photos that generators may see: no image may start from another one.
    """
    if drawing.strength is None:
        return None
    chosen = start_photos(seen, classes, label, drawing)
    shown = chosen[0].label if chosen else label
    order = numpy_stream(draw, "start", label, shown).permutation(len(chosen))
    photos = [chosen[place] for place in order]
    ids = [photo.id for photo in photos]
    return Sources(ids=ids, pixels=read_photos(prepared_dir, photos), strength=drawing.strength)


def start_photos(seen: Sequence[Photo], classes: Sequence[str], label: str, drawing: SynthesisDrawing) -> list[Photo]:
    """The photos that images of one class may start from; none if these start from noise."""
    if drawing.strength is None:
        return []
    shown = label if drawing.start == "photo" else neighbour(label, count_labels(seen, classes))
    return [photo for photo in seen if photo.label == shown]


def neighbour(label: str, counts: dict[str, int]) -> str:
    """The class before or after `label` in the order of `counts`, whichever has more photos; at a tie the former."""
    classes = list(counts)
    place = classes.index(label)
    beside = [classes[other] for other in (place - 1, place + 1) if 0 <= other < len(classes)]
    return max(beside, key=lambda other: counts[other])
