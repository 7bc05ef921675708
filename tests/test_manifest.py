"""The manifest: reading back what was written, and which photos each protocol may use."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdaug.common.manifest import (
    Photo,
    check_protocol,
    count_labels,
    missing_counts,
    read_manifest,
    training_photos,
    validation_photos,
    write_manifest,
)
from sdaug.common.params import Fold, Protocol, SplitParams

PHOTOS = [
    Photo(
        id=f"{index:02}",
        label=f"score_{1 + index % 2}",
        group=f"animal_{index}",
        split="test" if index >= 8 else "train",
        fold=-1 if index >= 8 else index % 4,
        sha256=f"{index:064}",
    )
    for index in range(10)
]


def split(protocol: Protocol, fold: Fold) -> SplitParams:
    return SplitParams(protocol=protocol, fold=fold, validation_fraction=0.2, seed=0)


def test_manifest_comes_back_ordered_by_id(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", reversed(PHOTOS))
    assert read_manifest(tmp_path) == PHOTOS


def test_absent_manifest_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"manifest\.csv: no manifest; run `dvc repro prepare`"):
        read_manifest(tmp_path)


def test_clean_view_and_validation_are_disjoint_and_cover_all_but_test() -> None:
    seen = training_photos(PHOTOS, split("clean", 1))
    held_out = validation_photos(PHOTOS, fold=1)
    assert sorted(photo.id for photo in seen + held_out) == [photo.id for photo in PHOTOS if photo.split == "train"]


def test_published_view_is_all_but_test() -> None:
    seen = training_photos(PHOTOS, split("published", 1))
    assert seen == [photo for photo in PHOTOS if photo.split == "train"]


def test_clean_refuses_groups_in_training_and_test() -> None:
    crossing = [*PHOTOS[:-1], replace(PHOTOS[-1], group=PHOTOS[0].group)]
    with pytest.raises(ValueError, match=r"split\.protocol: clean, but 1 test photos share a group"):
        check_protocol(crossing, split("clean", 0))


def test_published_takes_groups_in_training_and_test() -> None:
    crossing = [*PHOTOS[:-1], replace(PHOTOS[-1], group=PHOTOS[0].group)]
    assert len(training_photos(crossing, split("published", 0))) == 8


def test_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"split\.fold: 7; the prepared photos have folds \[0, 1, 2, 3\]"):
        check_protocol(PHOTOS, split("clean", 7))


def test_every_class_is_filled_up_to_the_largest() -> None:
    assert missing_counts({"a": 450, "b": 491, "c": 187, "d": 21}) == {"a": 41, "b": 0, "c": 304, "d": 470}


def test_counts_follow_the_order_of_the_classes() -> None:
    classes = ["score_3", "score_2", "score_1"]
    assert list(count_labels(PHOTOS, classes).items()) == [("score_3", 0), ("score_2", 5), ("score_1", 5)]
