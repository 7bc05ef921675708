from collections import Counter

import numpy as np
import pytest

from sdaug.photos.folds import assign_folds, choose_test

LABELS = ["a"] * 100 + ["b"] * 40


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.3, 0.4, 0.5])
def test_the_test_set_is_its_fraction_of_each_class(fraction: float) -> None:
    is_test = choose_test(LABELS, [str(i) for i in range(140)], test_fraction=fraction, seed=0)
    assert [is_test[:100].sum(), is_test[100:].sum()] == pytest.approx([100 * fraction, 40 * fraction])


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_even_a_class_of_three_groups_is_tested_and_trained(fraction: float) -> None:
    is_test = choose_test(["a"] * 60 + ["b"] * 3, [str(i) for i in range(63)], test_fraction=fraction, seed=0)
    assert 0 < is_test[60:].sum() < 3


def test_each_group_is_in_one_fold() -> None:
    groups = [f"cow {i // 3}" for i in range(140)]
    folds = assign_folds(LABELS, groups, num_folds=5, seed=0)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))


def test_each_fold_has_its_share_of_each_class() -> None:
    folds = assign_folds(LABELS, [str(i) for i in range(140)], num_folds=5, seed=0)
    counts = Counter(zip(LABELS, folds, strict=True))
    assert counts == {("a", fold): 20 for fold in range(5)} | {("b", fold): 8 for fold in range(5)}


def test_another_seed_gives_other_folds() -> None:
    groups = [str(i) for i in range(140)]
    first, second = (assign_folds(LABELS, groups, num_folds=5, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)
