"""Labels that a classifier doubts, by confident learning (Northcutt et al., arXiv 1911.00068): a list for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.metrics import precision_score, recall_score

from sdaug.audit.params import AuditParams
from sdaug.classify.inference import predict
from sdaug.common.manifest import Photo
from sdaug.common.progress import progress
from sdaug.train.examples import photos_alone
from sdaug.train.probe import ARM, TRAINING, fitted_recipe
from sdaug.train.training import train_classifier

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """Doubted photos by index, the most doubtful first, the labels that the probe would give them, and its accuracy."""

    indices: tuple[int, ...]
    guesses: tuple[int, ...]
    accuracy: float


def doubt_labels(
    images: Images, labels: Labels, folds: NDArray[np.int64], classes: Sequence[str], params: AuditParams
) -> Doubts:
    """The training photos `(N, H, W, 3)` whose labels look wrong to a classifier that did not learn from their fold."""
    probabilities = out_of_fold(images, labels, folds, classes, params)
    # Of cleanlab's filters this one had the best precision on the phantom's known errors.
    doubted = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    quality = get_label_quality_scores(labels, probabilities)
    order = [int(index) for index in np.argsort(quality, kind="stable") if doubted[index]]
    best = probabilities.argmax(axis=1)
    return Doubts(
        indices=tuple(order), guesses=tuple(int(best[i]) for i in order), accuracy=float(np.mean(best == labels))
    )


def out_of_fold(
    images: Images, labels: Labels, folds: NDArray[np.int64], classes: Sequence[str], params: AuditParams
) -> NDArray[np.float64]:
    """Probabilities `(N, K)` of each photo from a probe trained on all other folds; folds keep groups whole."""
    probabilities = np.zeros((len(labels), len(classes)))
    nothing = (images[:0], labels[:0])
    found = np.unique(folds)
    for fold in progress(found, title="label errors", total=len(found), unit="fold"):
        is_out = folds == fold
        recipe = fitted_recipe(images[~is_out])
        trained = train_classifier(
            photos_alone(images[~is_out], labels[~is_out]),
            nothing,
            list(classes),
            recipe=replace(recipe, epochs=params.probe_epochs, image_size=min(params.probe_pixels, recipe.image_size)),
            arm=ARM,
            shared=TRAINING,
            seed=params.seed,
            device=torch.device("cpu"),
            title=f"probe without fold {fold}",
            is_quiet=True,
        )
        probabilities[is_out] = predict(trained.build(), images[is_out], trained.card)
    return probabilities


def score_doubts(doubted: Sequence[bool], wrong: Sequence[bool]) -> dict[str, Any]:
    """Precision and recall of doubted labels where the wrong ones are known, as on the phantom."""
    return {
        "num_wrong": sum(wrong),
        "precision": float(precision_score(wrong, doubted)) if any(doubted) else None,
        "recall": float(recall_score(wrong, doubted)) if any(wrong) else None,
    }


def doubts_as_json(
    doubts: Doubts,
    photos: Sequence[Photo],
    files: Mapping[str, str],
    classes: Sequence[str],
    truth: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Doubted labels of training photos for metrics/audit.json; `truth` has the true class of each id where known."""
    doubted = [photos[index] for index in doubts.indices]
    pairs = zip(doubted, doubts.guesses, strict=True)
    found = {
        "compared": f"labels of {len(photos)} training photos with the out-of-fold probabilities of a small classifier",
        "accuracy_of_classifier": doubts.accuracy,
        "num_found": len(doubted),
        "ids": [photo.id for photo in doubted],
        "details": [f"{files[photo.id]}: labelled {photo.label}, looks like {classes[k]}" for photo, k in pairs],
    }
    if truth is None:
        return found
    chosen = {photo.id for photo in doubted}
    wrong = [truth[photo.id] != photo.label for photo in photos]
    return found | score_doubts([photo.id in chosen for photo in photos], wrong)
