"""Scores, checked against scikit-learn's metrics."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
)

from sdaug.classify.scores import (
    calibration_error,
    class_areas,
    class_recalls,
    correct_prior,
    further_scores,
    move_prior,
    score,
)

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


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("quadratic_kappa", cohen_kappa_score(LABELS, PREDICTED, weights="quadratic")),
        ("mean_absolute_error", mean_absolute_error(LABELS, PREDICTED)),
        ("auroc", roc_auc_score(LABELS, PROBABILITIES, multi_class="ovr", average="macro")),
    ],
)
def test_further_score_is_that_of_scikit_learn(name: str, wanted: float) -> None:
    assert further_scores(PROBABILITIES, LABELS)[name] == pytest.approx(wanted)


def test_scores_of_one_class_that_is_always_right_are_unknown_not_wrong() -> None:
    found = further_scores(np.tile([0.9, 0.1], (4, 1)), np.zeros(4, dtype=np.int64))
    assert found["quadratic_kappa"] is None and found["auroc"] is None and found["mean_absolute_error"] == 0


def test_class_without_images_has_no_area() -> None:
    of_two = LABELS < 2
    areas = class_areas(PROBABILITIES[of_two], LABELS[of_two])
    assert areas[2] is None and areas[0] == pytest.approx(roc_auc_score(LABELS[of_two] == 0, PROBABILITIES[of_two, 0]))


def test_calibration_error_is_the_gap_of_each_bin_by_its_size() -> None:
    """Four images at 0.9, of which three are right, and two at 0.6, both right."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 0, 1, 0, 0])
    assert calibration_error(probabilities, labels) == pytest.approx((4 * 0.15 + 2 * 0.4) / 6)


def test_true_probabilities_are_calibrated() -> None:
    stream = np.random.default_rng(0)
    probabilities = stream.dirichlet(np.ones(3), size=50_000)
    labels = (probabilities.cumsum(axis=1) < stream.random(50_000)[:, None]).sum(axis=1)
    assert calibration_error(probabilities, labels) < 0.01


def test_kappa_keeps_the_distance_over_a_class_that_is_absent() -> None:
    probabilities, labels = np.eye(4)[[0, 0, 3, 3, 1]], np.array([0, 3, 3, 3, 1])
    wanted = cohen_kappa_score(labels, [0, 0, 3, 3, 1], labels=range(4), weights="quadratic")
    assert further_scores(probabilities, labels)["quadratic_kappa"] == pytest.approx(wanted)
    assert wanted != pytest.approx(cohen_kappa_score(labels, [0, 0, 3, 3, 1], weights="quadratic"))


PRIOR = np.array([0.7, 0.2, 0.1])


def test_correction_gives_back_the_likelihoods_of_bayes_rule() -> None:
    likelihoods = np.random.default_rng(1).uniform(0.1, 1.0, (20, 3))
    posterior = likelihoods * PRIOR
    posterior /= posterior.sum(axis=1, keepdims=True)
    wanted = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    assert correct_prior(posterior, PRIOR) == pytest.approx(wanted)
    assert move_prior(wanted, np.full(3, 1 / 3), PRIOR) == pytest.approx(posterior)


def test_balanced_training_needs_no_correction() -> None:
    assert correct_prior(PROBABILITIES, np.full(3, 1 / 3)) == pytest.approx(PROBABILITIES)


def test_a_class_without_prior_is_never_said_and_an_image_of_nothing_else_stays() -> None:
    moved = correct_prior(np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]), np.array([0.5, 0.5, 0.0]))
    assert moved == pytest.approx(np.array([[0.4, 0.6, 0.0], [0.0, 0.0, 1.0]]))
