"""Test set and folds: each group has a place of its own, which no other photo can change.

A group is drawn by a hash of the seed and its key, so neither further photos nor other sizes move any photo. In a
stratified shuffle, which is usual, each place depends on all photos. The price is that shares are met by luck: a seed
is chosen with which each class is in all parts, near its share. Where none is found, as with dozens of classes of few
photos, `fill_parts` moves a few groups.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdaug.common.seeding import derive_seed

# Of so many seeds the best is chosen; of fewer for tens of thousands of groups.
NUM_SEEDS, MOST_DRAWS = 10_000, 100_000_000
SEEDS_AT_ONCE = 256  # bounds the memory for many photos
MISSING = 1.0e6  # weighs a class that misses a part above all misfit
TEST = -1  # the place of test photos, among those of the folds

Places = NDArray[np.int64]


def place_groups(keys: Sequence[str], *, seed: int, num_folds: int, test_fraction: float | None) -> Places:
    """The fold of each photo, `(N,)`, by the key of its group alone; -1 for photos of a test set that is made.

    Args:
        test_fraction: the chance of a group to be in the test set; None if the test set is given.
    """
    names, index = np.unique(np.array(keys, dtype=object), return_inverse=True)
    places: Places = _places(_numbers(names), [seed], num_folds, test_fraction)[0][index]
    return places


def choose_seed(
    labels: Sequence[str],
    keys: Sequence[str],
    *,
    num_folds: int,
    test_fraction: float | None,
    min_training: int = 0,
) -> int | None:
    """The seed from 0 on by which classes are nearest to their shares in test set and folds.

    As few classes as possible miss the test set or a fold, or have less than `min_training` photos in all folds
    together; `fill_parts` mends the rest. None where that cannot be: a class has fewer groups than there are parts, or
    too few photos.

    Args:
        labels: the class of each photo, keys: that of its group; of training photos alone if the test set is given.
    """
    names, sizes = _sizes(labels, keys)
    share = test_fraction or 0.0
    shares = np.array([share, *([(1 - share) / num_folds] * num_folds)])[test_fraction is None :]
    expected = np.outer(shares, sizes.sum(axis=0))  # (parts, K)
    is_made = test_fraction is not None
    if (np.count_nonzero(sizes, axis=0) < len(shares)).any() or (sizes.sum(axis=0) - is_made < min_training).any():
        return None

    numbers, best = _numbers(names), (np.inf, -1)
    parts = _parts(num_folds, test_fraction)
    for start in range(0, max(1, min(NUM_SEEDS, MOST_DRAWS // len(names))), SEEDS_AT_ONCE):
        places = _places(numbers, range(start, start + SEEDS_AT_ONCE), num_folds, test_fraction)
        counts = np.stack([(places == part) @ sizes for part in parts], axis=1)  # (seeds, parts, K)
        num_training = counts[:, len(parts) - num_folds :].sum(axis=1)
        num_missing = (counts == 0).sum(axis=(1, 2)) + (num_training < min_training).sum(axis=1)
        misfit = ((counts - expected) ** 2 / expected).sum(axis=(1, 2)) + MISSING * num_missing
        best = min(best, (float(misfit.min()), start + int(misfit.argmin())))
    return best[1]


def fill_parts(
    places: Places,
    labels: Sequence[str],
    keys: Sequence[str],
    *,
    seed: int,
    num_folds: int,
    test_fraction: float | None,
    min_training: int = 0,
) -> Places:
    """The places, with groups moved to parts that a class would miss; what is not needed for that stays.

    A group comes from the part that has most of the class, and is one that no class misses there; groups of the test
    set also where a class has less than `min_training` photos in the folds. A class that cannot be helped is left.
    """
    names, sizes = _sizes(labels, keys)
    of_group = np.zeros(len(names), np.int64)
    index = np.searchsorted(names, np.array(keys, dtype=object))
    of_group[index] = places
    order = _draws(_numbers(names), [seed], "fill")[0]
    folds = range(num_folds)

    def move(k: int, part: int, sources: Sequence[int]) -> bool:
        """Move a group of class k to a part from one of others, if one can go."""
        held = {p: sizes[of_group == p] for p in sources}
        movable = [
            g
            for g in np.flatnonzero(sizes[:, k]).tolist()
            if of_group[g] in held and ((held[int(of_group[g])][:, sizes[g] > 0] > 0).sum(axis=0) > 1).all()
        ]
        if movable:
            of_group[min(movable, key=lambda g: (-held[int(of_group[g])][:, k].sum(), order[g]))] = part
        return bool(movable)

    parts = _parts(num_folds, test_fraction)
    for k in range(sizes.shape[1]):
        for part in parts:
            if not sizes[of_group == part, k].any():
                move(k, part, [other for other in parts if other != part])
        while sizes[of_group != TEST, k].sum() < min_training:
            if not move(k, min(folds, key=lambda fold: sizes[of_group == fold, k].sum()), [TEST]):
                break
    filled: Places = of_group[index]
    return filled


def _sizes(labels: Sequence[str], keys: Sequence[str]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """The groups, and how many photos of each class each has, `(groups, K)`."""
    names, group = np.unique(np.array(keys, dtype=object), return_inverse=True)
    classes, label = np.unique(np.array(labels, dtype=object), return_inverse=True)
    sizes = np.zeros((len(names), len(classes)))
    np.add.at(sizes, (group, label), 1)
    return names, sizes


def _parts(num_folds: int, test_fraction: float | None) -> range:
    """The places that there are."""
    return range(0 if test_fraction is None else TEST, num_folds)


def _places(numbers: NDArray[np.uint64], seeds: Sequence[int], num_folds: int, test_fraction: float | None) -> Places:
    """The place of each group by each seed, `(seeds, groups)`."""
    places: Places = (_draws(numbers, seeds, "folds") * num_folds).astype(np.int64)
    if test_fraction is not None:
        places[_draws(numbers, seeds, "test") < test_fraction] = TEST
    return places


def _draws(numbers: NDArray[np.uint64], seeds: Sequence[int], purpose: str) -> NDArray[np.float64]:
    """A number from 0 to below 1 for each seed and group, `(seeds, groups)`."""
    starts = np.array([derive_seed(seed, "prepare", purpose) for seed in seeds], dtype=np.uint64)
    mixed = numbers[None, :] ^ starts[:, None]
    # The finaliser of SplitMix64 (Steele et al., doi 10.1145/2660193.2660195), which numpy computes for all at once.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    draws: NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53  # a double has 53 bits
    return draws


def _numbers(keys: Sequence[str] | NDArray[np.object_]) -> NDArray[np.uint64]:
    """A 64-bit number for each key, the same on every machine."""
    return np.array([int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") for key in keys], dtype=np.uint64)
