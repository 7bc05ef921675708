"""Reconstruction quality of the VAE, an upper bound on the quality of generated images."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.classify.inference import predict
from sdaug.classify.params import ArmTraining
from sdaug.classify.scores import score
from sdaug.common.seeding import numpy_stream
from sdaug.train.examples import photos_alone
from sdaug.train.probe import TRAINING, fitted_recipe
from sdaug.train.training import train_classifier

HELD_OUT_FRACTION = 0.3


def measure_vae(
    photos: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
) -> dict[str, float]:
    """The error of photos `(N, H, W, 3)` decoded by the VAE, and a photo classifier's accuracy on them."""
    order = numpy_stream(seed, "probe").permutation(len(photos))
    of_photos, of_reconstructions = probe_accuracies(photos, decoded, labels, order, classes, seed=seed)
    return {
        "squared_error": squared_error(photos, decoded),
        "accuracy_on_photos": of_photos,
        "accuracy_on_reconstructions": of_reconstructions,
    }


def squared_error(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """The mean squared error between two sets of images `(N, H, W, 3)`, with pixels scaled to [-1, 1]."""
    return float(np.mean(((images.astype(np.float32) - others.astype(np.float32)) / 127.5) ** 2))


def probe_accuracies(
    photos: NDArray[np.uint8],
    changed: NDArray[np.uint8],
    labels: NDArray[np.int64],
    order: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
) -> tuple[float, float]:
    """Accuracy of a classifier trained on photos only, on held-out photos and on their changed versions.

    The last part of `order` is held out.
    """
    cut = round(len(order) * (1.0 - HELD_OUT_FRACTION))
    train, held_out = np.sort(order[:cut]), np.sort(order[cut:])
    trained = train_classifier(
        photos_alone(photos[train], labels[train]),
        (photos[held_out], labels[held_out]),
        list(classes),
        recipe=fitted_recipe(photos[train]),
        arm=ArmTraining(flip_horizontal=True),
        shared=TRAINING,
        seed=seed,
        device=torch.device("cpu"),
        title="probe",
    )
    model = trained.build()
    of_photos, of_changed = (
        score(predict(model, images[held_out], trained.card), labels[held_out]) for images in (photos, changed)
    )
    # Plain accuracies: on the teats, the largest class alone gives 0.89, so there they say little (LOG.md, 2026-11-22).
    return of_photos["accuracy"], of_changed["accuracy"]
