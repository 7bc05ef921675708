"""The photos that the page shows for mistakes, compared with counting run by run."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from test_results import CLASSES, DATASETS, LABELS, MODELS, SEEDS, predict, read, write_runs

from sdaug.verdict.mistakes import NUM_HARDEST, NUM_MOVED, Mistake, find_mistakes
from sdaug.verdict.results import Study

RUNS = list(product(range(len(MODELS)), SEEDS))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("metrics")
    write_runs(root)
    return read(root)


def count_wrong(n: int, dataset: int) -> int:
    return sum(bool(predict(m, dataset, seed)[n].argmax() != LABELS[n]) for m, seed in RUNS)


def place(photo: Mistake) -> int:
    return int(photo.id.removeprefix("t"))


def test_counts_of_wrong_runs_are_those_of_each_arm(study: Study) -> None:
    found = find_mistakes(study)
    shown = [*found.hardest, *found.rescued, *found.lost]
    assert found.num_runs == len(RUNS) and len(shown) > 3
    for photo in shown:
        assert list(photo.wrong.values()) == [count_wrong(place(photo), d) for d in range(len(DATASETS))]
        assert photo.label == CLASSES[LABELS[place(photo)]]


def test_hardest_photos_are_wrong_in_most_runs_and_none_is_harder(study: Study) -> None:
    totals = {n: sum(count_wrong(n, d) for d in range(len(DATASETS))) for n in range(len(LABELS))}
    most = sorted((n for n in totals if 2 * totals[n] > len(RUNS) * len(DATASETS)), key=lambda n: (-totals[n], n))
    found = find_mistakes(study)
    assert [place(photo) for photo in found.hardest] == most[:NUM_HARDEST]
    assert found.num_always_wrong == sum(total == len(RUNS) * len(DATASETS) for total in totals.values())


def test_the_class_it_was_called_is_the_most_common_wrong_one(study: Study) -> None:
    for photo in find_mistakes(study).hardest:
        said = [CLASSES[predict(m, d, seed)[place(photo)].argmax()] for m, seed in RUNS for d in range(len(DATASETS))]
        wrong = [label for label in said if label != photo.label]
        assert wrong.count(photo.said) == max(map(wrong.count, wrong))


def test_rescued_and_lost_photos_are_those_that_the_arm_moved_most(study: Study) -> None:
    change = np.array([count_wrong(n, 1) - count_wrong(n, 0) for n in range(len(LABELS))])
    found = find_mistakes(study)
    assert found.moved_by is not None and found.moved_by.arm == "augmented"
    for photos, sign in ((found.rescued, -1), (found.lost, 1)):
        moved = [sign * change[place(photo)] for photo in photos]
        assert moved == sorted((sign * change)[sign * change > 0], reverse=True)[:NUM_MOVED]


def test_without_another_arm_no_photo_is_rescued_or_lost(tmp_path: Path) -> None:
    write_runs(tmp_path, ["original"])
    found = find_mistakes(read(tmp_path, datasets=["original"]))
    assert found.moved_by is None and found.rescued == found.lost == () and found.hardest
