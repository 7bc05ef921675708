"""Judges know the class of new images, and none has seen a photo that it judges."""

import numpy as np
import pytest

from sdaug.classify.features import Vectors
from sdaug.fidelity.cross_fitted_judge import Judges, assign_folds

CLASSES = ["left", "right", "up"]
DIRECTIONS = np.eye(8)[:3]


def vectors(k: int, number: int, seed: int, noise: float = 0.3) -> Vectors:
    return DIRECTIONS[k] + np.random.default_rng(seed).normal(0.0, noise, (number, 8))


LABELS = np.repeat([0, 1, 2], [30, 30, 6])
GROUPS = [f"g{index // 3}" for index in range(66)]
PHOTOS = np.concatenate([vectors(0, 30, 0), vectors(1, 30, 1), vectors(2, 6, 2)])


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges(PHOTOS, PHOTOS, LABELS, GROUPS, CLASSES, num_folds=3, seed=0)


def test_judges_name_the_class_of_new_images(judges: Judges) -> None:
    shares = [judges.of_images(vectors(k, 50, 10 + k), CLASSES[k]).means()[0] for k in range(3)]
    assert all(share is not None and share > 0.8 for share in shares)
    share, probability = judges.of_images(vectors(1, 50, 11), "left").means()
    assert share is not None and probability is not None
    assert share < 0.2 and probability < 0.4


def test_a_rare_class_is_named_too(judges: Judges) -> None:
    share, _ = judges.of_photos(PHOTOS, "up").means()
    assert share is not None and share > 0.5


def test_a_class_without_photos_has_no_means() -> None:
    none = LABELS != 2
    groups = [group for group, is_kept in zip(GROUPS, none, strict=True) if is_kept]
    judges = Judges(PHOTOS[none], PHOTOS[none], LABELS[none], groups, CLASSES, num_folds=2, seed=0)
    assert judges.of_photos(PHOTOS[none], "up").means() == (None, None)
    assert judges.of_images(vectors(2, 4, 3), "up").means() == (None, None)


def test_photos_of_a_single_group_cannot_be_judged_and_images_only_by_judges_that_know_them() -> None:
    groups = ["alone" if label == 2 else group for group, label in zip(GROUPS, LABELS, strict=True)]
    judges = Judges(PHOTOS, PHOTOS, LABELS, groups, CLASSES, num_folds=3, seed=0)
    assert judges.of_photos(PHOTOS, "up").means() == (None, None)
    share, _ = judges.of_images(vectors(2, 50, 12), "up").means()
    assert share is not None and share > 0.9  # not two thirds: the judge of that group's fold has never seen the class


def test_photos_are_judged_by_judges_that_have_not_seen_them() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(80, 200)), rng.permutation(np.repeat([0, 1], 40))
    groups = [str(index) for index in range(80)]
    judges = Judges(noise, noise, labels, groups, ["a", "b"], num_folds=4, seed=0)
    said_of_unseen, _ = judges.of_photos(noise, "a").means()
    said_of_seen, _ = judges.of_images(noise[labels == 0], "a").means()
    assert said_of_unseen is not None and said_of_seen is not None
    assert said_of_unseen < 0.7  # labels are random: nothing can be known
    assert said_of_seen > 0.8  # most judges have seen each of these


def test_folds_cover_all_photos_and_keep_groups_whole() -> None:
    folds = assign_folds(LABELS, GROUPS, num_folds=3, seed=1)
    assert set(folds) == {0, 1, 2}
    assert all(len({fold for fold, group in zip(folds, GROUPS, strict=True) if group == name}) == 1 for name in GROUPS)


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="fidelity.judge_folds: 11; .* at most 10 groups; lower judge_folds"):
        assign_folds(LABELS, GROUPS, num_folds=11, seed=0)
