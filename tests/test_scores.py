"""Scores, checked against scikit-learn's metrics."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from sdaug.classify.scores import class_recalls, score

LABELS = np.arange(60) % 3
PROBABILITIES = np.random.default_rng(0).dirichlet(np.ones(3), size=60)
PREDICTED = PROBABILITIES.argmax(axis=1)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("loss", log_loss(LABELS, PROBABILITIES)),
        ("accuracy", accuracy_score(LABELS, PREDICTED)),
        ("balanced_accuracy", balanced_accuracy_score(LABELS, PREDICTED)),
        ("macro_f1", f1_score(LABELS, PREDICTED, average="macro")),
    ],
)
def test_score_is_that_of_scikit_learn(name: str, wanted: float) -> None:
    assert score(PROBABILITIES, LABELS)[name] == pytest.approx(wanted)


def test_balanced_accuracy_is_over_the_classes_that_are_there() -> None:
    of_two = LABELS < 2
    wanted = np.mean([(PREDICTED[LABELS == k] == k).mean() for k in (0, 1)])
    assert score(PROBABILITIES[of_two], LABELS[of_two])["balanced_accuracy"] == pytest.approx(wanted)


def test_balanced_accuracy_is_the_mean_of_the_recalls() -> None:
    recalls, _ = class_recalls(PROBABILITIES, LABELS)
    assert score(PROBABILITIES, LABELS)["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_absent_class_has_no_recall() -> None:
    of_two = LABELS < 2
    recalls, counts = class_recalls(PROBABILITIES[of_two], LABELS[of_two])
    assert recalls[2] is None and counts == [20, 20, 0]


def test_class_that_is_never_predicted_has_recall_0() -> None:
    recalls, _ = class_recalls(np.tile([1.0, 0.0], (4, 1)), np.array([0, 0, 1, 1]))
    assert recalls == [1.0, 0.0]
