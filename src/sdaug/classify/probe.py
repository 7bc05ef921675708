"""A small classifier as a measuring device: do changed images still tell their classes apart?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.classify.inference import predict
from sdaug.classify.recipe import CUSTOM, ArmTraining, Recipe, TrainParams
from sdaug.classify.scores import score
from sdaug.classify.training import train_classifier

HELD_OUT_FRACTION = 0.3
RECIPE = Recipe(
    architecture=CUSTOM,
    options={},
    pretrained=False,
    freeze_backbone=False,
    dropout=0.0,
    drop_path=0.0,
    image_size=64,
    optimizer="adam",
    learning_rate=2.0e-3,
    layer_decay=1.0,
    momentum=0.0,
    weight_decay=1.0e-4,
    schedule="cosine",
    warmup_steps=0,
    batch_size=16,
    epochs=10,
    steps=None,
)
SHARED = TrainParams(
    selection="loss",
    early_stopping_epochs=None,
    ema_decay=None,
    max_grad_norm=None,
    precision="fp32",
    num_threads=1,
    compile=False,
)


def fitted_recipe(images: NDArray[np.uint8]) -> Recipe:
    """The recipe for `(N, H, W, 3)` images, however few and small they are."""
    return replace(
        RECIPE, batch_size=min(RECIPE.batch_size, len(images)), image_size=min(RECIPE.image_size, images.shape[1])
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
        recipe=fitted_recipe(photos[train]),
        arm=ArmTraining(flip_horizontal=True),
        shared=SHARED,
        seed=seed,
        device=torch.device("cpu"),
        title="probe",
    )
    model = trained.build()
    of_photos, of_changed = (
        score(predict(model, images[held_out], trained.card), labels[held_out]) for images in (photos, changed)
    )
    return of_photos["accuracy"], of_changed["accuracy"]
