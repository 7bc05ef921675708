"""The baseline that looks at no pixel: guessing a photo's label from other photos of its group."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, recall_score

from sdaug.common.manifest import Photo


def sibling_scores(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, float] | None:
    """Test accuracy and balanced accuracy of guessing from groups, or None if no group is in training and test.

    The guess is the most common label among the training photos of the same group, or of all groups if it has none.
    """
    train = [photo for photo in photos if photo.split == "train"]
    test = [photo for photo in photos if photo.split == "test"]
    overall = Counter(photo.label for photo in train)
    siblings: dict[str, Counter[str]] = {}
    for photo in train:
        siblings.setdefault(photo.group, Counter())[photo.label] += 1
    if not any(photo.group in siblings for photo in test):
        return None

    def guess(photo: Photo) -> str:
        votes = siblings.get(photo.group, overall)
        return max(classes, key=lambda label: (votes[label], overall[label]))

    labels, guesses = [photo.label for photo in test], [guess(photo) for photo in test]
    present = np.unique(labels)
    return {
        "test_accuracy": float(accuracy_score(labels, guesses)),
        "test_balanced_accuracy": float(recall_score(labels, guesses, labels=present, average="macro")),
    }
