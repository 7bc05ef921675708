"""Reconstruction quality of the VAE, an upper bound on the quality of generated images."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.classify.inference import predict
from sdaug.classify.scores import score
from sdaug.common.seeding import numpy_stream
from sdaug.train.examples import photos_alone
from sdaug.train.probe import ARM, TRAINING, fitted_recipe
from sdaug.train.training import train_classifier

HELD_OUT_FRACTION = 0.3


def measure_vae(
    photos: NDArray[np.uint8],
    reconstructed: NDArray[np.uint8],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    classes: Sequence[str],
    *,
    seed: int,
) -> dict[str, float | None]:
    """The error of photos `(N, H, W, 3)` reconstructed by the VAE, and a photo classifier's accuracy on them.

    The accuracies are None where all photos are of one group: none can be held out.
    """
    train, held_out = split_by_group(groups, seed=seed)
    of_photos, of_reconstructions = (
        probe_accuracies(photos, reconstructed, labels, train, held_out, classes, seed=seed)
        if len(train)
        else (None, None)
    )
    return {
        "squared_error": squared_error(photos, reconstructed),
        "accuracy_on_photos": of_photos,
        "accuracy_on_reconstructions": of_reconstructions,
    }


def squared_error(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """The mean squared error between two sets of images `(N, H, W, 3)`, with pixels scaled to [-1, 1]."""
    return float(np.mean(((images.astype(np.float32) - others.astype(np.float32)) / 127.5) ** 2))


def split_by_group(groups: Sequence[str], *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of photos to train the probe on and of those held out, sorted; no group is on both sides.

    Whole groups are held out, in random order, until their photos are the wanted share of all. The first side is empty
    if there is only one group.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    order = numpy_stream(seed, "probe").permutation(len(names))
    sizes = np.cumsum(np.bincount(group_of)[order])
    enough = 1 + int(np.searchsorted(sizes, HELD_OUT_FRACTION * len(group_of)))
    is_held_out = np.isin(group_of, order[: max(1, min(enough, len(names) - 1))])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def probe_accuracies(
    photos: NDArray[np.uint8],
    reconstructed: NDArray[np.uint8],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
) -> tuple[float, float]:
    """Accuracy of a classifier trained on the photos `train`, on those `held_out` and on their reconstructions."""
    trained = train_classifier(
        photos_alone(photos[train], labels[train]),
        (photos[held_out], labels[held_out]),
        list(classes),
        recipe=fitted_recipe(photos[train]),
        arm=ARM,
        shared=TRAINING,
        seed=seed,
        device=torch.device("cpu"),
        title="probe",
    )
    model = trained.build()
    of_photos, of_reconstructed = (
        score(predict(model, images[held_out], trained.card), labels[held_out]) for images in (photos, reconstructed)
    )
    # Plain accuracies: on the teats, the largest class alone gives 0.89, so there they say little (git show bb20a37).
    return of_photos["accuracy"], of_reconstructed["accuracy"]
