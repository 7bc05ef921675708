"""Classification metrics, computed by scikit-learn."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score


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


def class_recalls(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[list[float | None], list[int]]:
    """Recall per class (None for a class without images), and the number of images per class."""
    _, K = probabilities.shape
    counts = np.bincount(labels, minlength=K)
    recalls = recall_score(labels, probabilities.argmax(axis=1), labels=np.arange(K), average=None, zero_division=0.0)
    return [float(recall) if count else None for recall, count in zip(recalls, counts, strict=True)], counts.tolist()
