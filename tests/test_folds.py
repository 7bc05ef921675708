"""Test sets and folds: a group's place depends on nothing but the seed and its key."""

from collections import Counter

import numpy as np
import pytest

from sdaug.photos.folds import TEST, choose_seed, fill_parts, place_groups

LABELS = ["a"] * 100 + ["b"] * 40
KEYS = [f"cow {i // 2}" for i in range(140)]


def places(keys: list[str], *, seed: int = 0, num_folds: int = 4, test_fraction: float | None = 0.25) -> dict[str, int]:
    found = place_groups(keys, seed=seed, num_folds=num_folds, test_fraction=test_fraction)
    assert len({(key, place) for key, place in zip(keys, found, strict=True)}) == len(set(keys))  # groups are whole
    return dict(zip(keys, found.tolist(), strict=True))


def test_further_photos_move_no_photo() -> None:
    before, after = places(KEYS), places([f"new {i}" for i in range(10)] + KEYS[::-1])
    assert {key: after[key] for key in before} == before


def test_places_are_the_same_on_every_machine() -> None:
    assert list(places([f"cow {i}" for i in range(12)]).values()) == [3, 0, -1, 2, -1, -1, 1, 1, 1, -1, -1, -1]


def test_another_seed_gives_other_places() -> None:
    assert places(KEYS) != places(KEYS, seed=1)


def test_a_test_set_that_is_given_leaves_folds_alone() -> None:
    assert set(places(KEYS, test_fraction=None).values()) == {0, 1, 2, 3}


def test_the_folds_do_not_depend_on_the_size_of_the_test_set() -> None:
    small, large = places(KEYS, test_fraction=0.1), places(KEYS, test_fraction=0.4)
    assert {key for key, place in small.items() if place == TEST} < {k for k, place in large.items() if place == TEST}
    assert all(small[key] == place for key, place in large.items() if place != TEST)


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
def test_many_groups_have_their_shares(fraction: float) -> None:
    found = place_groups([str(i) for i in range(20_000)], seed=3, num_folds=5, test_fraction=fraction)
    shares = np.bincount(found + 1) / 20_000
    assert shares == pytest.approx([fraction] + [(1 - fraction) / 5] * 5, abs=0.015)


@pytest.mark.parametrize("fraction", [0.25, None])
def test_with_the_chosen_seed_each_class_has_nearly_its_share_of_each_part(fraction: float | None) -> None:
    seed = choose_seed(LABELS, KEYS, num_folds=4, test_fraction=fraction)
    assert seed is not None
    found = place_groups(KEYS, seed=seed, num_folds=4, test_fraction=fraction)
    counts = Counter(zip(LABELS, found.tolist(), strict=True))
    for label, total in (("a", 100), ("b", 40)):
        shares = dict.fromkeys(range(4), (1 - (fraction or 0)) / 4) | ({TEST: fraction} if fraction else {})
        for part, share in shares.items():
            assert counts[label, part] == pytest.approx(total * share, abs=0.07 * total)


def test_even_classes_of_as_many_photos_as_parts_are_in_each() -> None:
    labels = ["many"] * 60 + ["few"] * 5
    seed = choose_seed(labels, [str(i) for i in range(65)], num_folds=4, test_fraction=0.25)
    assert seed is not None
    found = place_groups([str(i) for i in range(60, 65)], seed=seed, num_folds=4, test_fraction=0.25)
    assert sorted(found.tolist()) == [TEST, 0, 1, 2, 3]


def test_a_class_keeps_enough_photos_to_train() -> None:
    labels, keys = ["a"] * 60 + ["b"] * 8, [str(i) for i in range(68)]
    seed = choose_seed(labels, keys, num_folds=2, test_fraction=0.5, min_training=7)
    assert seed is not None
    assert Counter(place_groups(keys[60:], seed=seed, num_folds=2, test_fraction=0.5).tolist())[TEST] == 1


def test_many_classes_of_few_photos_miss_no_part() -> None:
    """No seed gives each of 70 classes of 6 a place in five parts; a few groups are moved."""
    labels, keys = [f"kind {i // 6}" for i in range(420)], [str(i) for i in range(420)]
    seed = choose_seed(labels, keys, num_folds=4, test_fraction=0.25)
    assert seed is not None
    before = place_groups(keys, seed=seed, num_folds=4, test_fraction=0.25)
    after = fill_parts(before, labels, keys, seed=seed, num_folds=4, test_fraction=0.25)
    assert set(Counter(zip(labels, after.tolist(), strict=True))) == {
        (f"kind {i}", part) for i in range(70) for part in range(TEST, 4)
    }
    assert 0 < (before != after).sum() < 100


def test_places_with_which_no_class_misses_a_part_stay() -> None:
    seed = choose_seed(LABELS, KEYS, num_folds=4, test_fraction=0.25)
    assert seed is not None
    found = place_groups(KEYS, seed=seed, num_folds=4, test_fraction=0.25)
    filled = fill_parts(found, LABELS, KEYS, seed=seed, num_folds=4, test_fraction=0.25)
    assert (filled == found).all()


def test_groups_stay_whole_where_they_are_moved() -> None:
    labels, keys = ["a", "b"] * 10, [str(i // 2) for i in range(20)]
    filled = fill_parts(np.zeros(20, np.int64), labels, keys, seed=0, num_folds=4, test_fraction=None)
    assert set(filled.tolist()) == {0, 1, 2, 3}
    assert len(set(zip(keys, filled.tolist(), strict=True))) == 10


def test_no_seed_helps_a_class_with_fewer_groups_than_parts() -> None:
    assert choose_seed(["a"] * 9 + ["b"] * 4, list("123456789abcd"), num_folds=4, test_fraction=0.25) is None
