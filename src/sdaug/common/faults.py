"""Faults of drawn images that no eye needs to see: those that no photo has."""

import hashlib

import numpy as np
from numpy.typing import NDArray

MIN_LEVELS = 8  # distinct grey levels an image needs; a constant one has 1, a photo dozens
MAX_ATTEMPTS = 10  # seeds tried per image before giving up on what draws it
REASONS = ("not_finite", "constant", "few_levels", "duplicate")


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
