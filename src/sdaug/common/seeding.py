"""Independent random streams: one seed per purpose and index, so that a change in one does not affect the others."""

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed derived from the study's seed and the purpose; the same on every machine."""
    # SHA-256, because Python's hash() of a string differs from process to process.
    text = "/".join(str(part) for part in (seed, *purpose))
    # 63 bits fit a signed 64-bit integer.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """The NumPy generator for one purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))
