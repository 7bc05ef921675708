"""Training one classifier on one data set, with selection of the best epoch by validation."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sdaug.classify.inception_head import weights_without
from sdaug.classify.inference import as_pixels, predict, to_batch
from sdaug.classify.models import ModelCard, build_model, create_network
from sdaug.classify.params import ArmTraining, Recipe, TrainParams
from sdaug.classify.scores import score
from sdaug.common.device import to_device, torch_stream
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.params import Square
from sdaug.common.precision import autocast, resolve_precision
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.train.augmentation import Augmentation
from sdaug.train.batches import count_batches, count_epoch, cut_batches, draw_epoch
from sdaug.train.losses import Loss, build_loss
from sdaug.train.matrix_conv import use_matrix_products
from sdaug.train.optimization import build_optimizer, build_schedule

AUXILIARY_WEIGHT = 0.4  # not given by Szegedy et al., arXiv 1512.00567; torchvision's reference training uses 0.4

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Report = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The best epoch's weights, validation scores and probabilities `(N, K)`, and the history of all epochs.

    `num_views` `(M,)` counts how often the whole run showed each training image.
    Without a validation set the last epoch is kept, and there are no scores.
    """

    weights: Mapping[str, torch.Tensor]
    card: ModelCard
    best_epoch: int
    best: dict[str, float]
    predicted: NDArray[np.float64] = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
    num_views: NDArray[np.int64] = field(repr=False)

    def build(self) -> nn.Module:
        """The trained model in evaluation mode, on the CPU."""
        model = create_network(self.card.architecture, len(self.card.classes), self.card.options)
        model.load_state_dict(self.weights)
        return model.to(memory_format=torch.channels_last).eval()


def train_classifier(
    training: tuple[Images, Labels],
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
    """Train on images `(N, H, W, 3)` and keep the best validation epoch.

    Raises:
        ValueError: the batch is larger than the data set, or losses or predictions are not finite.
    """
    if recipe.batch_size > len(training[1]):
        raise ValueError(
            f"params.yaml: classifiers: batch_size: {recipe.batch_size} ({title}); "
            f"there are {len(training[1])} training images; lower batch_size"
        )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Setup. Arms with the same seed start from the same weights.
        torch.manual_seed(derive_seed(seed, "initialisation"))
        model, card = build_model(recipe, classes, prepared_pixels=training[0].shape[1], square=square)
        if device.type == "cpu" and not shared.compile:  # the C++ compiler would take minutes for these
            use_matrix_products(model)
        torch.manual_seed(derive_seed(seed, "dropout"))
        loop = Loop(model.to(device), card, training, recipe=recipe, arm=arm, shared=shared, seed=seed, title=title)
        selection = Selection(shared)

        has_validation = len(validation[0]) > 0
        for epoch in progress(range(1, loop.num_epochs + 1), title=title, total=loop.num_epochs, unit="epoch"):
            # Train.
            row = {"train_loss": loop.train_epoch(epoch)}

            # Validate. Without a validation set, training images still tell whether the weights are finite.
            predicted = loop.predict(validation[0] if has_validation else training[0][: recipe.batch_size], epoch)
            scores = score(predicted, validation[1]) if has_validation else {}
            row |= {f"validation_{name}": value for name, value in scores.items()}

            # Report, and keep the best epoch.
            if report is not None:
                report(epoch, row)
            if selection.add(epoch, row, scores, predicted if has_validation else None, loop.kept):
                break
    return selection.result(card, num_classes=len(classes), num_views=loop.num_views)


class Loop:
    """The state of one training run: model, optimizer, random streams and step count."""

    def __init__(
        self,
        model: nn.Module,
        card: ModelCard,
        training: tuple[Images, Labels],
        *,
        recipe: Recipe,
        arm: ArmTraining,
        shared: TrainParams,
        seed: int,
        title: str,
    ) -> None:
        self._images, self._labels = training
        self._model, self._card, self._recipe, self._arm, self._shared = model, card, recipe, arm, shared
        self._title, self._device = title, next(model.parameters()).device
        model.to(memory_format=torch.channels_last)
        if shared.compile:
            model.compile()  # in place, so that weights keep their names
        self.dtype = resolve_precision(shared.precision, self._device)
        num_classes = len(card.classes)
        self._loss = build_loss(arm, self._labels, num_classes, self._device)
        self._augmentation = Augmentation(arm, num_classes, torch_stream(derive_seed(seed, "augmentation")))
        self._order = torch_stream(derive_seed(seed, "order"))

        num_batches = count_batches(count_epoch(self._labels, arm.sampler), recipe.batch_size)
        self._num_steps = recipe.steps or num_batches * (recipe.epochs or 1)
        self.num_epochs = -(-self._num_steps // num_batches)
        self._step = self.num_epoch_steps = 0  # in total, and in the last epoch
        self.num_views = np.zeros(len(self._labels), np.int64)
        self._optimizer = build_optimizer(model, recipe)
        self._schedule = build_schedule(self._optimizer, recipe, num_steps=self._num_steps)
        self._average = build_average(model, shared.ema_decay)
        # On a GPU all images are resident; on a CPU they stay in the file, and each batch is read when needed.
        self._resident = as_pixels(self._images, self._device) if self._device.type != "cpu" else None
        self._targets = torch.from_numpy(self._labels).to(self._device)

    @property
    def kept(self) -> nn.Module:
        """The model used for validation: the moving average of the weights, if there is one."""
        kept: nn.Module = self._model if self._average is None else self._average.module
        return kept

    def train_epoch(self, epoch: int) -> float:
        """Train for one epoch, or for the remaining steps; returns the mean loss per image.

        Raises:
            ValueError: the loss is not finite.
        """
        set_training(self._model, self._recipe)
        monitor = LossMonitor(["loss"], self._device)
        indices = draw_epoch(self._labels, self._arm.sampler, self._order)
        # The last epoch ends as soon as all steps are done.
        batches = cut_batches(indices, self._recipe.batch_size)[: self._num_steps - self._step]
        for number, chosen in enumerate(batches, start=1):
            loss = self._train_step(chosen)
            monitor.add(number, [loss], num_images=len(chosen))
            np.add.at(self.num_views, chosen.numpy(), 1)
        self._step += len(batches)
        self.num_epoch_steps = len(batches)
        return monitor.means(where=f"{self._title}: epoch {epoch}", way_out="lower the learning rate")["loss"]

    def predict(self, images: Images, epoch: int) -> NDArray[np.float64]:
        """Class probabilities `(N, K)` of images `(N, H, W, 3)` from the model that would be kept.

        Raises:
            ValueError: they are not finite; the last step's loss cannot show that its update broke the weights.
        """
        predicted = predict(self.kept, images, self._card, dtype=self.dtype)
        if not np.isfinite(predicted).all():
            raise ValueError(
                f"{self._title}: epoch {epoch}: after step {self.num_epoch_steps}: the predictions are not finite; "
                "lower the learning rate"
            )
        return predicted

    def _train_step(self, chosen: torch.Tensor) -> torch.Tensor:
        # Forward.
        pixels, targets = self._read(chosen)
        images, targets = self._augmentation.mix(self._augmentation.change(pixels), targets)
        with autocast(self._device, self.dtype):
            loss = combined_loss(self._model(to_batch(images, self._card)), targets, self._loss)

        # Backward and optimizer step.
        self._optimizer.zero_grad()
        loss.backward()
        if self._shared.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._shared.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()

        # Moving average.
        if self._average is not None:
            self._average.update_parameters(self._model)
        return loss

    def _read(self, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The pixels `(B, 3, H, W)` and labels `(B,)` of a batch."""
        if self._resident is None:
            return as_pixels(self._images[chosen.numpy()], self._device), self._targets[chosen]
        there = to_device(chosen, self._device)
        return self._resident[there], self._targets[there]


class Selection:
    """The best validation epoch so far, and the history of all epochs."""

    def __init__(self, shared: TrainParams) -> None:
        self._shared = shared
        self._history: list[dict[str, float]] = []
        self._epoch, self._scores = 0, dict[str, float]()
        self._predicted: NDArray[np.float64] | None = None
        self._weights: dict[str, torch.Tensor] = {}

    def add(
        self,
        epoch: int,
        row: Mapping[str, float],
        scores: dict[str, float],
        predicted: NDArray[np.float64] | None,
        model: nn.Module,
    ) -> bool:
        """Record an epoch; returns whether to stop early, because none of the last epochs was better."""
        self._history.append({"epoch": epoch, **row})
        name = self._shared.selection
        if not scores or not self._epoch or rank(scores, name) > rank(self._scores, name):
            self._epoch, self._scores, self._predicted = epoch, scores, predicted
            # A copy, since the state dict shares memory with the model, whose training goes on.
            self._weights = deepcopy(weights_without(model.state_dict()))
        patience = self._shared.early_stopping_epochs
        return patience is not None and epoch - self._epoch >= patience

    def result(self, card: ModelCard, *, num_classes: int, num_views: NDArray[np.int64]) -> Trained:
        """The kept epoch and the history."""
        return Trained(
            weights=self._weights,
            card=card,
            best_epoch=self._epoch,
            best=self._scores,
            predicted=np.empty((0, num_classes)) if self._predicted is None else self._predicted,
            history=self._history,
            num_views=num_views,
        )


def rank(scores: Mapping[str, float], selection: str) -> tuple[float, float]:
    """The sort key of an epoch, higher is better; ties go to the lower validation loss."""
    return -scores["loss"] if selection == "loss" else scores[selection], -scores["loss"]


def build_average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """An exponential moving average of the weights and batch-norm statistics, or None without `decay`."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def set_training(model: nn.Module, recipe: Recipe) -> None:
    """Switch to training mode; the batch-norm statistics of a frozen backbone stay frozen too."""
    model.train()
    if recipe.freeze_backbone:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def combined_loss(
    output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor, loss: Loss
) -> torch.Tensor:
    """The loss, plus the weighted loss of the auxiliary head if the model has one."""
    if isinstance(output, torch.Tensor):
        return loss(output.float(), targets)
    logits, auxiliary = output
    return loss(logits.float(), targets) + AUXILIARY_WEIGHT * loss(auxiliary.float(), targets)
