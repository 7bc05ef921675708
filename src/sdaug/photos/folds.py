"""Test set and folds, stratified by class and without splitting groups."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

MAX_TEST_PARTS = 20  # a test fraction of 0.05 is one part in twenty


def assign_folds(labels: Sequence[str], groups: Sequence[str], *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each photo, `(N,)`: stratified by label, no group in two folds."""
    if num_folds == 1:
        return np.zeros(len(labels), np.int64)
    folds = np.full(len(labels), -1)
    splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=seed % 2**32)
    for fold, (_, members) in enumerate(splitter.split(folds, labels, groups)):
        folds[members] = fold
    return folds


def choose_test(labels: Sequence[str], groups: Sequence[str], *, test_fraction: float, seed: int) -> NDArray[np.bool_]:
    """A mask `(N,)` of the test photos: some of several stratified parts, no more parts than any class has groups."""
    groups_of_class = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    num_parts = min(MAX_TEST_PARTS, *groups_of_class.values())
    share = Fraction(test_fraction).limit_denominator(num_parts) or Fraction(1, num_parts)
    return assign_folds(labels, groups, num_folds=share.denominator, seed=seed) < share.numerator
