"""SCTL-style training: a classifier learns from training images, and from test photos without their labels.

After separable confident transductive learning (Zhang et al. 2022, doi 10.3390/ani12070886), whose equations are not
known to us. The loss of a step is

    cross entropy of the batch + a * separation + b * cross entropy of pseudo labels + c * class-wise discrepancy.

A round begins at each of `starts`: test photos that are then predicted with more than the round's threshold get what is
predicted as pseudo labels, anew. Until the next round, each step has a batch of them beside its training images.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sdaug.classify.inference import to_batch
from sdaug.classify.models import ModelCard, head_of
from sdaug.common.checkpoint import State
from sdaug.common.device import to_device, torch_stream
from sdaug.common.precision import autocast
from sdaug.train.augmentation import Augmentation
from sdaug.train.examples import BatchReader, Images, Labels, photos_alone
from sdaug.train.losses import Loss, Output, combined_loss, plain_loss
from sdaug.train.params import SctlParams
from sdaug.train.phases import Phase
from sdaug.train.sctl_losses import class_discrepancy, separation_loss

LOSSES = ("loss", "separation", "pseudo_label_loss", "discrepancy")  # of a step: the whole, and its terms unweighted
UNKNOWN = -1  # the label of a test photo
Predict = Callable[[Images], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Transduction:
    """What SCTL-style training has beside a training set: its settings, and test photos `(N, H, W, 3)`."""

    settings: SctlParams
    images: Images = field(repr=False)

    def require_photos(self, title: str) -> None:
        """Raise ValueError if there are no test photos."""
        if len(self.images) == 0:
            raise ValueError(
                f"params.yaml: classifiers: method: sctl ({title}); the test set is empty, and sctl learns from its "
                "photos; set method: plain, or give test photos"
            )


class Transductive:
    """The state of SCTL-style training: the round, its pseudo labels, and which test photos are next."""

    def __init__(
        self,
        transduction: Transduction,
        card: ModelCard,
        phase: Phase,
        *,
        seed: int,
        device: torch.device,
        num_steps: int,
        title: str,
        is_quiet: bool,
    ) -> None:
        self._settings, self._images, self._card = transduction.settings, transduction.images, card
        self._device, self._title, self._is_quiet = device, title, is_quiet
        self._batch_size, self._num_steps = phase.recipe.batch_size, num_steps
        unlabelled = np.full(len(self._images), UNKNOWN)
        self._reader = BatchReader(photos_alone(self._images, unlabelled), device)
        names = ("unlabelled order", "unlabelled augmentation")
        self._order, self._changes = self._streams = [torch_stream(phase.seed(seed, name)) for name in names]
        self._augmentation = Augmentation(phase.arm, self._changes)
        # Of the round that is under way: its number, from 1, the pseudo label of each photo, and those to come.
        self._round, self._pseudo = 0, torch.from_numpy(unlabelled)
        self._queue = torch.empty(0, dtype=torch.int64)

    @property
    def num_confident(self) -> int:
        """The test photos that have a pseudo label."""
        return int((self._pseudo != UNKNOWN).sum())

    def begin_step(self, step: int, predict: Predict) -> None:
        """Begin the round that is due at a step, counted from 0, if one is; `predict` gives class probabilities."""
        if not self._settings.uses_test_photos:
            return
        due = sum(step >= start * self._num_steps for start in self._settings.starts)
        if due > self._round:
            self._round = due
            pseudo = confident_labels(predict(self._images), self._settings.thresholds[due - 1])
            self._pseudo, self._queue = torch.from_numpy(pseudo), torch.empty(0, dtype=torch.int64)
            if not self._is_quiet:
                self._tell(step, pseudo)

    def losses(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, loss: Loss, dtype: torch.dtype
    ) -> list[torch.Tensor]:
        """The loss of a step and its terms, as `LOSSES`; images `(B, 3, H, W)` are in [0, 1], `labels` `(B,)`."""
        settings, B = self._settings, len(images)
        inputs, pseudo = to_batch(images, self._card), None
        if self.num_confident:
            chosen = self._draw()
            pixels, _ = self._reader.read(chosen)
            pseudo = to_device(self._pseudo[chosen], self._device)
            # In one pass: batch norm sees both kinds of photos as one.
            inputs = torch.cat([inputs, to_batch(self._augmentation.change(pixels), self._card)])
        with autocast(self._device, dtype):
            output, features = forward_with_features(model, inputs)
            total = combined_loss(_cut(output, slice(B)), labels, loss)
        terms = dict.fromkeys(LOSSES[1:], torch.zeros((), device=self._device))
        if settings.separation_weight:
            terms["separation"] = separation_loss(features[:B], labels)
            total = total + settings.separation_weight * terms["separation"]
        if pseudo is not None and settings.pseudo_label_weight:
            terms["pseudo_label_loss"] = combined_loss(_cut(output, slice(B, None)), pseudo, plain_loss)
            total = total + settings.pseudo_label_weight * terms["pseudo_label_loss"]
        if pseudo is not None and settings.discrepancy_weight:
            terms["discrepancy"] = class_discrepancy(
                features[:B],
                labels,
                features[B:],
                pseudo,
                num_classes=len(self._card.classes),
                widths=settings.kernel_widths,
            )
            total = total + settings.discrepancy_weight * terms["discrepancy"]
        return [total, *terms.values()]

    def state(self) -> State:
        """All that changes from step to step."""
        return {
            "round": self._round,
            "pseudo": self._pseudo,
            "queue": self._queue,
            "streams": [stream.get_state() for stream in self._streams],
        }

    def restore(self, state: State) -> None:
        """Go on from a saved state."""
        self._round, self._pseudo, self._queue = state["round"], state["pseudo"], state["queue"]
        for stream, saved in zip(self._streams, state["streams"], strict=True):
            stream.set_state(saved)

    def _draw(self) -> torch.Tensor:
        """The next confident photos: a batch, or all if they are fewer; each is shown as often as the others."""
        confident = torch.nonzero(self._pseudo != UNKNOWN).flatten()
        num_wanted = min(self._batch_size, len(confident))
        if len(self._queue) < num_wanted:
            again = confident[torch.randperm(len(confident), generator=self._order)]
            self._queue = torch.cat([self._queue, again])
        chosen, self._queue = self._queue[:num_wanted], self._queue[num_wanted:]
        return chosen

    def _tell(self, step: int, pseudo: Labels) -> None:
        """Say how many photos got a pseudo label, and which classes have none."""
        counts = {label: int((pseudo == k).sum()) for k, label in enumerate(self._card.classes)}
        listed = ", ".join(f"{label} {count}" for label, count in counts.items())
        absent = [label for label, count in counts.items() if not count]
        missing = f"; none of {', '.join(absent)}, whose discrepancy is left out" if absent else ""
        threshold = self._settings.thresholds[self._round - 1]
        print(
            f"{self._title}: round {self._round}, from step {step + 1} of {self._num_steps}: {sum(counts.values())} of "
            f"{len(pseudo)} test photos are predicted with more than {threshold:g} ({listed}){missing}",
            file=sys.stderr,
            flush=True,
        )


def confident_labels(predicted: NDArray[np.float64], threshold: float) -> Labels:
    """The most probable class of each row `(N, K)` whose probability is above the threshold, else `UNKNOWN`: `(N,)`."""
    is_confident = predicted.max(axis=1) > threshold
    return np.where(is_confident, predicted.argmax(axis=1), UNKNOWN)


def forward_with_features(model: nn.Module, inputs: torch.Tensor) -> tuple[Output, torch.Tensor]:
    """What the model says of inputs `(B, 3, size, size)`, and what its head gets to see of them: float32 `(B, D)`."""
    seen: list[torch.Tensor] = []
    # For one pass only: an average of the weights is a deep copy of the model, hooks included.
    hook = head_of(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        output: Output = model(inputs)
    finally:
        hook.remove()
    return output, seen[0].flatten(1).float()


def _cut(output: Output, rows: slice) -> Output:
    """These rows of logits, and of those of an auxiliary head."""
    return output[rows] if isinstance(output, torch.Tensor) else (output[0][rows], output[1][rows])
