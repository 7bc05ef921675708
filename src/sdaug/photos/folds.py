"""Which photos are test and which fold a training photo is in: stratified by class, whole groups together."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

MAX_TEST_PARTS = 20  # a test share of 0.05 is one part of twenty


def assign_folds(labels: Sequence[str], groups: Sequence[str], *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each photo, `(N,)`: stratified by label, no group in two folds."""
    folds = np.full(len(labels), -1)
    splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=seed % 2**32)
    for fold, (_, members) in enumerate(splitter.split(folds, labels, groups)):
        folds[members] = fold
    return folds


def choose_test(labels: Sequence[str], groups: Sequence[str], *, test_fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which photos are test, `(N,)`: some of several stratified parts, no more parts than each class has groups."""
    groups_of_class = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    num_parts = min(MAX_TEST_PARTS, *groups_of_class.values())
    share = Fraction(test_fraction).limit_denominator(num_parts) or Fraction(1, num_parts)
    return assign_folds(labels, groups, num_folds=share.denominator, seed=seed) < share.numerator
