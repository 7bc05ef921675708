"""Faults of drawn images that no eye needs to see: those that no photo has."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

MIN_LEVELS = 8  # distinct grey levels an image needs; a constant one has 1, a photo dozens
MAX_ATTEMPTS = 10  # seeds tried per image before giving up on what draws it
REASONS = ("not_finite", "constant", "few_levels", "duplicate")


class DrawnPixels(Protocol):
    """An image `(H, W, 3)` as it was drawn; `is_finite` is False if a value was NaN or infinite before rounding."""

    @property
    def pixels(self) -> NDArray[np.uint8]: ...

    @property
    def is_finite(self) -> bool: ...


Image = TypeVar("Image", bound=DrawnPixels)


def draw_sound(
    draw: Callable[[Sequence[int], int], Iterable[Image]], indices: Sequence[int], faults: MutableMapping[str, int]
) -> Iterator[tuple[int, Image]]:
    """Images without a fault, with their indices; one with a fault is drawn again, `MAX_ATTEMPTS` times in all.

    `draw(indices, attempt)` gives an image per index. Rejected ones are counted by reason in `faults`. Fewer
    come than were asked for if some had a fault each time.
    """
    missing, seen = list(indices), set[bytes]()
    for attempt in range(MAX_ATTEMPTS):
        again = []
        for index, image in zip(missing, draw(missing, attempt), strict=True):
            fault = find_fault(image.pixels, seen, is_finite=image.is_finite)
            if fault is None:
                yield index, image
            else:
                faults[fault] = faults.get(fault, 0) + 1
                again.append(index)
        missing = again
        if not missing:
            return


def find_fault(pixels: NDArray[np.uint8], seen: set[bytes], *, is_finite: bool = True) -> str | None:
    """The reason to reject an image `(H, W, 3)`, one of REASONS, or None.

    The hash of an accepted image is added to `seen`.
    """
    if not is_finite:
        return "not_finite"
    levels = np.bincount(pixels.mean(axis=2).round().astype(np.int64).ravel(), minlength=256)
    num_levels = np.count_nonzero(levels)
    if num_levels <= 1:
        return "constant"
    if num_levels < MIN_LEVELS:
        return "few_levels"
    digest = hashlib.sha256(pixels.tobytes()).digest()
    if digest in seen:
        return "duplicate"
    seen.add(digest)
    return None
