"""A small classifier as a measuring device: do changed images still tell their classes apart?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.classify.inference import predict
from sdaug.classify.recipe import CUSTOM, Recipe
from sdaug.classify.scores import score
from sdaug.classify.training import build_loss, train_classifier

HELD_OUT_FRACTION = 0.3
RECIPE = Recipe(
    architecture=CUSTOM,
    options={},
    pretrained=False,
    image_size=64,
    optimizer="adam",
    learning_rate=2.0e-3,
    momentum=0.0,
    weight_decay=1.0e-4,
    schedule="cosine",
    batch_size=16,
    epochs=10,
    flip_horizontal=True,
)


def probe_accuracies(
    photos: NDArray[np.uint8],
    changed: NDArray[np.uint8],
    labels: NDArray[np.int64],
    order: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
) -> tuple[float, float]:
    """Accuracy on held-out photos and on the same images changed, of a classifier that trained on photos alone.

    The last part of `order` is held out.
    """
    cut = round(len(order) * (1.0 - HELD_OUT_FRACTION))
    train, held_out = np.sort(order[:cut]), np.sort(order[cut:])
    trained = train_classifier(
        (photos[train], labels[train]),
        (photos[held_out], labels[held_out]),
        list(classes),
        recipe=replace(
            RECIPE,
            batch_size=min(RECIPE.batch_size, len(train)),
            image_size=min(RECIPE.image_size, photos.shape[1]),
        ),
        loss=build_loss("cross_entropy", focal_gamma=0.0),
        selection="loss",
        seed=seed,
        device=torch.device("cpu"),
        title="probe",
    )
    model = trained.build()
    of_photos, of_changed = (
        score(predict(model, images[held_out], trained.card), labels[held_out]) for images in (photos, changed)
    )
    return of_photos["accuracy"], of_changed["accuracy"]
