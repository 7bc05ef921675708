"""The training loop of one phase: epochs of steps, each with a batch, a loss and an update of the weights."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sdaug.classify.inference import predict, to_batch
from sdaug.classify.models import ModelCard
from sdaug.common.checkpoint import State
from sdaug.common.device import announce, to_device, torch_stream
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.precision import autocast, name_precision, resolve_precision
from sdaug.common.progress import progress
from sdaug.train.augmentation import Augmentation
from sdaug.train.examples import BatchReader, Images
from sdaug.train.losses import build_loss, class_weights, combined_loss
from sdaug.train.optimization import build_optimizer, build_schedule
from sdaug.train.params import Recipe, TrainParams
from sdaug.train.phases import Phase, image_importance, image_weights
from sdaug.train.transductive import LOSSES, Transduction, Transductive


class Loop:
    """The state of one phase of a training run: model, optimizer, random streams and step count."""

    def __init__(
        self,
        model: nn.Module,
        card: ModelCard,
        reader: BatchReader,
        phase: Phase,
        *,
        shared: TrainParams,
        seed: int,
        title: str,
        is_quiet: bool = False,
        transduction: Transduction | None = None,
    ) -> None:
        self._model, self._card, self._reader, self._shared = model, card, reader, shared
        self._recipe, self._arm, self._title, self._is_quiet = phase.recipe, phase.arm, title, is_quiet
        self._device, self._num_classes = next(model.parameters()).device, len(card.classes)
        self.dtype = resolve_precision(shared.precision, self._device)
        # The loss: weights of classes and of images.
        training = reader.training
        labels, importance = training.labels[phase.rows], image_importance(training, phase)
        self._by_class = class_weights(phase.arm, labels, self._num_classes, importance)
        self._loss = build_loss(phase.arm, self._by_class, self._device)
        self._labels, weights = training.labels, image_weights(training, phase.arm)
        self._weights = None if weights is None else torch.from_numpy(weights)
        # Random streams.
        names = ("augmentation", "order", "soften")
        self._streams = [torch_stream(phase.seed(seed, name)) for name in names]
        changes, self._order, self._softening = self._streams
        self._augmentation = Augmentation(phase.arm, changes)

        self._epochs = phase.epochs(training)
        num_batches = self._epochs.num_batches
        self._num_steps = phase.recipe.steps or num_batches * (phase.recipe.epochs or 1)
        self._num_epochs = -(-self._num_steps // num_batches)
        self._step = self.num_epoch_steps = 0  # in total, and in the last epoch
        # Of the epoch that is under way: its batches, and how many of them are done.
        self._batches: list[torch.Tensor] | None = None
        self._names = LOSSES if transduction else LOSSES[:1]
        self._monitor, self._num_done = LossMonitor(self._names, self._device), 0
        self.num_views = np.zeros(len(training), np.int64)
        self._optimizer = build_optimizer(model, phase.recipe)
        self._schedule = build_schedule(self._optimizer, phase.recipe, num_steps=self._num_steps)
        self._average = build_average(model, shared.ema_decay)
        self._transductive = transduction and Transductive(
            transduction,
            card,
            phase,
            seed=seed,
            device=self._device,
            num_steps=self._num_steps,
            title=title,
            is_quiet=is_quiet,
        )
        if not is_quiet:
            announce(title, self._device, name_precision(self.dtype), model.parameters(), model.parameters())

    @property
    def kept(self) -> nn.Module:
        """The model used for validation: the moving average of the weights, if there is one."""
        kept: nn.Module = self._model if self._average is None else self._average.module
        return kept

    @property
    def exposure(self) -> NDArray[np.float64]:
        """How much each training image `(N,)` has counted in the loss: its views times its weight and its class's."""
        exposure = self.num_views.astype(np.float64)
        if self._weights is not None:
            exposure *= self._weights.numpy()
        return exposure if self._by_class is None else exposure * np.array(self._by_class)[self._labels]

    def numbers(self, first: int = 1) -> Iterator[int]:
        """The numbers of the epochs, from 1 or where a stopped run was, with a progress line unless it is quiet."""
        numbers = range(first, self._num_epochs + 1)
        yield from numbers if self._is_quiet else progress(numbers, title=self._title, total=len(numbers), unit="epoch")

    def train_epoch(self, epoch: int, tick: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Train for one epoch, or for the remaining steps; returns the mean loss per image, and those of its terms.

        `tick` is called after each step, to save the state if it is time to.

        Raises:
            ValueError: the loss is not finite.
        """
        set_training(self._model, self._recipe)
        if self._batches is None:  # else a stopped run has begun this epoch
            # The last epoch ends as soon as all steps are done.
            self._batches = self._epochs.draw(self._order)[: self._num_steps - self._step]
            self._monitor, self._num_done = LossMonitor(self._names, self._device), 0
        batches = self._batches
        for number, chosen in enumerate(batches[self._num_done :], start=self._num_done + 1):
            if self._transductive:
                self._transductive.begin_step(self._step + number - 1, partial(self.predict, epoch=epoch))
            self._monitor.add(number, self._train_step(chosen), num_images=len(chosen))
            np.add.at(self.num_views, chosen.numpy(), 1)
            self._num_done = number
            tick()
        self._step += len(batches)
        self.num_epoch_steps, self._batches = len(batches), None
        where, is_start = f"{self._title}: epoch {epoch}", epoch == 1
        means = self._monitor.means(where=where, way_out="lower the learning rate", is_start=is_start)
        return means | ({"pseudo_labels": self._transductive.num_confident} if self._transductive else {})

    def state(self) -> State:
        """All that changes from step to step; batches and the monitor are those of the epoch that is under way."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "streams": [stream.get_state() for stream in self._streams],
            "step": self._step,
            "batches": self._batches,
            "num_done": self._num_done,
            "monitor": self._monitor.state(),
            "num_views": torch.from_numpy(self.num_views),
            "transductive": self._transductive.state() if self._transductive else None,
        }

    def restore(self, state: State) -> None:
        """Go on from a saved state."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._average:
            self._average.load_state_dict(state["average"])
        for stream, saved in zip(self._streams, state["streams"], strict=True):
            stream.set_state(saved)
        self._step, self._batches, self._num_done = state["step"], state["batches"], state["num_done"]
        self._monitor.restore(state["monitor"])
        self.num_views = state["num_views"].numpy()
        if self._transductive:
            self._transductive.restore(state["transductive"])

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

    def _train_step(self, chosen: torch.Tensor) -> list[torch.Tensor]:
        # Forward.
        pixels, targets = self._reader.read(chosen, self._draw_soft(len(chosen)))
        weights = None if self._weights is None else to_device(self._weights[chosen], self._device)
        images, shares = self._augmentation.mix(self._augmentation.change(pixels))
        if shares is not None:
            # A mixed image has the labels and weights of what it is made of.
            targets = shares @ F.one_hot(targets, self._num_classes).to(shares.dtype)
            weights = None if weights is None else shares @ weights
        loss_of = self._loss if weights is None else partial(self._loss, weights=weights)
        if self._transductive:
            losses = self._transductive.losses(self._model, images, targets, loss_of, self.dtype)
        else:
            with autocast(self._device, self.dtype):
                losses = [combined_loss(self._model(to_batch(images, self._card)), targets, loss_of)]

        # Backward and optimizer step.
        self._optimizer.zero_grad()
        losses[0].backward()
        if self._shared.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._shared.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()

        # Moving average.
        if self._average is not None:
            self._average.update_parameters(self._model)
        return losses

    def _draw_soft(self, num_images: int) -> torch.Tensor | None:
        """Which images of a batch are replaced by their reconstructions `(B,)`, None if no image is."""
        if not self._arm.soften:
            return None
        return torch.rand(num_images, generator=self._softening) < self._arm.soften


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
