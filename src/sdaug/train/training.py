"""Training one classifier on one data set, with selection of the best epoch by validation."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from sdaug.classify.models import build_model
from sdaug.classify.params import ArmTraining, Recipe, TrainParams
from sdaug.classify.scores import score
from sdaug.common.params import Square
from sdaug.common.seeding import derive_seed
from sdaug.train.examples import BatchReader, Images, Labels, TrainingSet
from sdaug.train.loop import Loop
from sdaug.train.matrix_conv import use_matrix_products
from sdaug.train.phases import plan_phases
from sdaug.train.selection import Selection, Trained

Report = Callable[[int, Mapping[str, float]], None]


def train_classifier(
    training: TrainingSet,
    validation: tuple[Images, Labels],
    classes: list[str],
    *,
    recipe: Recipe,
    arm: ArmTraining,
    shared: TrainParams,
    seed: int,
    device: torch.device,
    square: Square = "crop",
    report: Report | None = None,
    title: str = "epochs",
) -> Trained:
    """Train on the images of a training set and keep the best epoch by validation images `(N, H, W, 3)` and labels.

    A pretraining on synthetic images has no epochs that could be kept, and is in no history.

    Raises:
        ValueError: the batch is larger than the data set, the arm needs images that are not there, or losses or
            predictions are not finite.
    """
    phases = plan_phases(training, recipe, arm, title=title)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Setup. Arms with the same seed start from the same weights.
        torch.manual_seed(derive_seed(seed, "initialisation"))
        model, card = build_model(recipe, classes, prepared_pixels=training.images.shape[1], square=square)
        torch.manual_seed(derive_seed(seed, "dropout"))
        prepare_model(model, device, shared)
        reader = BatchReader(training, device)

        # Pretraining: of it, only the weights and the count of views are kept.
        views_before = np.zeros(len(training), np.int64)
        for phase in phases[:-1]:
            loop = Loop(model, card, reader, phase, shared=shared, seed=seed, title=f"{title}, {phase.name}")
            for epoch in loop.numbers():
                loop.train_epoch(epoch)
            views_before += loop.num_views

        loop = Loop(model, card, reader, phases[-1], shared=shared, seed=seed, title=title)
        selection, has_validation = Selection(shared), len(validation[0]) > 0
        for epoch in loop.numbers():
            # Train.
            row = {"train_loss": loop.train_epoch(epoch)}

            # Validate. Without a validation set, training images still tell whether the weights are finite.
            predicted = loop.predict(validation[0] if has_validation else training.images[: recipe.batch_size], epoch)
            scores = score(predicted, validation[1]) if has_validation else {}
            row |= {f"validation_{name}": value for name, value in scores.items()}

            # Report, and keep the best epoch.
            if report is not None:
                report(epoch, row)
            if selection.add(epoch, row, scores, predicted if has_validation else None, loop.kept):
                break
    return selection.result(card, num_views=views_before + loop.num_views, exposure=loop.exposure)


def prepare_model(model: nn.Module, device: torch.device, shared: TrainParams) -> None:
    """Move a new model to the device and make it fast there, in place, so that its weights keep their names."""
    if device.type == "cpu" and not shared.compile:  # the C++ compiler would take minutes for these
        use_matrix_products(model)
    model.to(device).to(memory_format=torch.channels_last)
    if shared.compile:
        model.compile()
