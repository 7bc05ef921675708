"""Labels that can be read from names: the number, prefix or words of a file name that give its class away."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from sdaug.audit.findings import Check, Finding, Verdict
from sdaug.common.seeding import numpy_stream

NUM_PARTS = 5  # of the names, each in turn kept from the readers
NUM_SHUFFLES = 199  # with chance alone, one name check in 200 beats them all


class Skill(NamedTuple):
    """How well a reader guesses labels of held-out names: 0 is chance, 1 is every label; `luck` is the best by chance.

    Skill is balanced accuracy, scaled so that chance is 0.
    """

    reader: str
    skill: float
    luck: float


def read_labels_from(names: Sequence[str], labels: Sequence[str], groups: Sequence[str]) -> Skill:
    """The better of two readers, each tried on names of groups that it did not learn from.

    One reads character n-grams (prefixes, words), the other number ranges, also those of the place in natural order.
    """
    texts = np.array([f"^{name}$" for name in names], dtype=object)  # n-grams then know beginning and end
    readers = {
        "characters": (make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 4)), ComplementNB()), texts),
        "numbers": (
            DecisionTreeClassifier(class_weight="balanced", min_samples_leaf=3, random_state=0),
            number_features(names),
        ),
    }
    actual = np.unique(np.array(labels), return_inverse=True)[1]
    # Siblings have similar labels and, in a file name, the same beginning: a reader must not learn from those.
    parts = GroupKFold(min(NUM_PARTS, len(set(groups))), shuffle=True, random_state=0)
    found = []
    for reader, (model, features) in readers.items():
        predicted = cross_val_predict(model, features, actual, groups=np.array(groups), cv=parts)
        rng = numpy_stream(0, "names", reader)
        luck = max(_skill(rng.permutation(actual), predicted) for _ in range(NUM_SHUFFLES))
        found.append(Skill(reader, _skill(actual, predicted), luck))
    return max(found, key=lambda skill: skill.skill)


def check_names(
    names: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    check: str,
    kind: str,
    severity: Verdict,
    name_skill: float,
    way_out: str = "",
) -> Check:
    """Whether names of one kind, such as `file names`, give labels away."""
    found = read_labels_from(names, labels, groups)
    is_readable = found.skill >= name_skill and found.skill > found.luck
    note = (
        f"the {found.reader} of {kind} tell labels with a skill of {found.skill:.2f} (chance: up to {found.luck:.2f})"
    )
    return Check(
        name=check,
        compared=f"{len(names)} {kind}: skill {found.skill:.2f}, where 0 is chance and 1 is every label",
        severity=severity,
        findings=(Finding((), note),) if is_readable else (),
        way_out=way_out,
    )


def number_features(names: Sequence[str]) -> NDArray[np.float64]:
    """The numbers in each name and its place in natural order, `(N, numbers + 1)`; -1 where a name has fewer."""
    numbers = [[float(text) for text in re.findall(r"\d+", name)] for name in names]
    features = np.full((len(names), max(map(len, numbers)) + 1), -1.0)
    for row, values in zip(features, numbers, strict=True):
        row[: len(values)] = values
    order = sorted(range(len(names)), key=lambda index: _natural_key(names[index]))
    features[order, -1] = np.arange(len(names))
    limited: NDArray[np.float64] = np.minimum(features, 1.0e12)  # the tree computes in float32, which ends at 3e38
    return limited


def _natural_key(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10."""
    return [(int(text) if text.isdecimal() else -1, text) for text in re.split(r"(\d+)", name)]


def _skill(actual: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Balanced accuracy, scaled so that chance is 0."""
    return float(balanced_accuracy_score(actual, predicted, adjusted=True))
