"""Training one classifier on one data set, with selection of the best epoch by validation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from sdaug.classify.models import build_model
from sdaug.classify.scores import score
from sdaug.common.checkpoint import Checkpoint, State
from sdaug.common.cpu_speed import use_matrix_products
from sdaug.common.params import Square
from sdaug.common.seeding import derive_seed
from sdaug.train.examples import BatchReader, Images, Labels, TrainingSet
from sdaug.train.head import retrain_head
from sdaug.train.loop import Loop
from sdaug.train.params import ArmTraining, Recipe, TrainParams
from sdaug.train.phases import plan_phases
from sdaug.train.selection import Selection, Trained
from sdaug.train.transductive import Transduction

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
    sixteen_bit_maximum: int | None = None,
    report: Report | None = None,
    title: str = "epochs",
    is_quiet: bool = False,
    checkpoint: Checkpoint | None = None,
    transduction: Transduction | None = None,
) -> Trained:
    """Train on the images of a training set and keep the best epoch by validation images `(N, H, W, 3)` and labels.

    A pretraining on synthetic images has no epochs that could be kept, and is in no history. An arm with feature
    oversampling has another head than the epoch that is kept, and its validation scores. After going on from a
    checkpoint, `report` receives all epochs again. `title` begins the lines of progress, which `is_quiet` leaves out,
    and errors. The method `sctl` needs a `transduction`, which has no part in a pretraining.

    Raises:
        ValueError: the batch is larger than the data set, the arm needs images that are not there, or losses or
            predictions are not finite; the method is `sctl` and there are no test photos.
    """
    assert (recipe.method == "sctl") == (transduction is not None)
    if transduction:
        transduction.require_photos(title)
    phases = plan_phases(training, recipe, arm, title=title)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Setup. Arms with the same seed start from the same weights.
        torch.manual_seed(derive_seed(seed, "initialisation"))
        model, card = build_model(
            recipe,
            classes,
            prepared_pixels=training.images.shape[1],
            square=square,
            sixteen_bit_maximum=sixteen_bit_maximum,
        )
        card = replace(card, method=recipe.method)
        torch.manual_seed(derive_seed(seed, "dropout"))
        prepare_model(model, device, shared)
        reader = BatchReader(training, device)

        found = checkpoint.load() if checkpoint else None
        first_phase, first_epoch = (found["phase"], found["epoch"]) if found else (0, 1)

        # Pretraining: of it, only the weights and the count of views are kept.
        selection, has_validation = Selection(shared), len(validation[0]) > 0
        views_before = found["views_before"].numpy() if found else np.zeros(len(training), np.int64)
        for place, phase in list(enumerate(phases))[first_phase:]:
            is_last = place == len(phases) - 1
            named = title if is_last else f"{title}, {phase.name}"
            loop = Loop(
                model,
                card,
                reader,
                phase,
                shared=shared,
                seed=seed,
                title=named,
                is_quiet=is_quiet,
                transduction=transduction if is_last else None,
            )
            if found:
                loop.restore(found["loop"])
                selection.restore(found["selection"])
                _set_random(found["random"], device)
                _report_again(selection.history, report)
            for epoch in loop.numbers(first_epoch):
                # Train.
                state = partial(_state, loop, selection, views_before, device, phase=place, epoch=epoch)
                losses = loop.train_epoch(epoch, partial(_save_if_due, checkpoint, state))
                row = {f"train_{name}": value for name, value in losses.items()}
                if not is_last:
                    continue

                # Validate. Without a validation set, training images still tell whether the weights are finite.
                shown = validation[0] if has_validation else training.images[: recipe.batch_size]
                predicted = loop.predict(shown, epoch)
                scores = score(predicted, validation[1]) if has_validation else {}
                row |= {f"validation_{name}": value for name, value in scores.items()}

                # Report, and keep the best epoch.
                if report is not None:
                    report(epoch, row)
                if selection.add(epoch, row, scores, predicted if has_validation else None, loop.kept):
                    break
            found, first_epoch = None, 1
            if not is_last:
                views_before = views_before + loop.num_views
    trained = selection.result(card, num_views=views_before + loop.num_views, exposure=loop.exposure)
    if arm.feature_oversampling:
        return retrain_head(trained, training, validation, seed=seed, device=device, dtype=loop.dtype, title=title)
    return trained


def prepare_model(model: nn.Module, device: torch.device, shared: TrainParams) -> None:
    """Move a new model to the device and make it fast there, in place, so that its weights keep their names."""
    if device.type == "cpu" and not shared.compile:  # the C++ compiler would take minutes for these
        use_matrix_products(model)
    model.to(device).to(memory_format=torch.channels_last)
    if shared.compile:
        model.compile()


def _report_again(history: Sequence[Mapping[str, float]], report: Report | None) -> None:
    if report is None:
        return
    for row in history:
        report(int(row["epoch"]), {name: value for name, value in row.items() if name != "epoch"})


def _save_if_due(checkpoint: Checkpoint | None, state: Callable[[], State]) -> None:
    if checkpoint and checkpoint.is_due():
        checkpoint.save(state())


def _state(
    loop: Loop, selection: Selection, views_before: Labels, device: torch.device, *, phase: int, epoch: int
) -> State:
    """All of a training run that changes: `epoch` of `phase` is under way."""
    return {
        "phase": phase,
        "epoch": epoch,
        "loop": loop.state(),
        "selection": selection.state(),
        "views_before": torch.from_numpy(views_before),
        "random": [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])],
    }


def _set_random(states: Sequence[torch.Tensor], device: torch.device) -> None:
    """Go on with the random numbers of dropout."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
