"""Classification metrics, computed by scikit-learn, and probabilities for classes as common as one likes."""

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    recall_score,
    roc_auc_score,
)

CALIBRATION_BINS = 15  # as in Guo et al., arXiv 1706.04599


def score(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro-F1 and cross entropy of probabilities `(N, K)`.

    Balanced accuracy and macro-F1 are means over the classes present in `labels`.
    """
    _, K = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    # By default, scikit-learn also counts predicted classes without images, with recall 0.
    present = np.unique(labels)
    return {
        "loss": float(log_loss(labels, probabilities, labels=np.arange(K))),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recall_score(labels, predicted, labels=present, average="macro")),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0.0)),
    }


def further_scores(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float | None]:
    """What is reported beside `score`: for ordered classes, of ranking, and of the probabilities themselves.

    `auroc` is the mean over classes of each one against the rest, None if only one class is there.
    """
    _, K = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    # Where all labels and predictions are of one class, chance agrees as well.
    has_kappa = len(np.union1d(labels, predicted)) > 1
    # All classes are given, or the distance over one that is absent would shrink.
    options = {"labels": np.arange(K), "weights": "quadratic"}
    areas = [area for area in class_areas(probabilities, labels) if area is not None]
    return {
        "quadratic_kappa": float(cohen_kappa_score(labels, predicted, **options)) if has_kappa else None,
        "mean_absolute_error": float(mean_absolute_error(labels, predicted)),
        "auroc": float(np.mean(areas)) if areas else None,
        "calibration_error": calibration_error(probabilities, labels),
    }


def class_areas(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[float | None]:
    """The area under the ROC curve of each class against the rest; None where either side has no images."""
    _, K = probabilities.shape
    counts = np.bincount(labels, minlength=K)
    return [
        float(roc_auc_score(labels == k, probabilities[:, k])) if 0 < counts[k] < len(labels) else None
        for k in range(K)
    ]


def calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The expected calibration error of the predicted classes' probabilities, over bins of equal width."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # scikit-learn leaves out empty bins and does not say how full the others are.
    shares, means = calibration_curve(correct, confidence, n_bins=CALIBRATION_BINS)
    places = np.searchsorted(np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1], confidence)
    counts = np.bincount(places, minlength=CALIBRATION_BINS)
    return float(np.average(np.abs(shares - means), weights=counts[counts > 0]))


def class_recalls(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[list[float | None], list[int]]:
    """Recall per class (None for a class without images), and the number of images per class."""
    _, K = probabilities.shape
    counts = np.bincount(labels, minlength=K)
    recalls = recall_score(labels, probabilities.argmax(axis=1), labels=np.arange(K), average=None, zero_division=0.0)
    return [float(recall) if count else None for recall, count in zip(recalls, counts, strict=True)], counts.tolist()


def move_prior(
    probabilities: NDArray[np.float64], prior: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities `(N, K)` of a model that learnt classes as common as in `prior`, for shares of `target`, both (K,).

    Bayes' rule: probabilities are multiplied by the ratio of the two (Saerens et al., doi 10.1162/089976602753284446).
    A class that training never showed has no ratio and gets 0; an image with nothing else keeps its probabilities.
    """
    moved = probabilities * np.divide(target, prior, out=np.zeros_like(prior), where=prior > 0)
    totals = np.broadcast_to(moved.sum(axis=1, keepdims=True), moved.shape)
    shares: NDArray[np.float64] = np.divide(moved, totals, out=probabilities.copy(), where=totals > 0)
    return shares


def correct_prior(probabilities: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities `(N, K)` for classes that are equally common: what balanced accuracy asks for.

    Post-hoc logit adjustment (Menon et al., arXiv 2007.07314).
    """
    _, K = probabilities.shape
    return move_prior(probabilities, prior, np.full(K, 1 / K))
