"""The result of a training run: the best epoch by validation, and the history of all epochs."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sdaug.classify.inception_head import weights_without
from sdaug.classify.models import ModelCard, create_network
from sdaug.common.checkpoint import State
from sdaug.train.params import TrainParams


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The best epoch's weights, validation scores and probabilities `(N, K)`, and the history of all epochs.

    `num_views` `(M,)` counts how often the whole run showed each training image, a pretraining included. `exposure`
    `(M,)` is how much each has counted in the loss since then: its views times its weights. Without a validation set
    the last epoch is kept, and there are no scores.
    """

    weights: Mapping[str, torch.Tensor]
    card: ModelCard
    best_epoch: int
    best: dict[str, float]
    predicted: NDArray[np.float64] = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
    num_views: NDArray[np.int64] = field(repr=False)
    exposure: NDArray[np.float64] = field(repr=False)

    def build(self) -> nn.Module:
        """The trained model in evaluation mode, on the CPU."""
        model = create_network(self.card.architecture, len(self.card.classes), self.card.options)
        model.load_state_dict(self.weights)
        return model.to(memory_format=torch.channels_last).eval()


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

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """The rows of all epochs so far."""
        return self._history

    def state(self) -> State:
        """All that changes from epoch to epoch."""
        plain = [{name: float(value) for name, value in row.items()} for row in (*self._history, self._scores)]
        return {
            "history": plain[:-1],
            "epoch": self._epoch,
            "scores": plain[-1],
            "predicted": None if self._predicted is None else torch.from_numpy(self._predicted),
            "weights": self._weights,
        }

    def restore(self, state: State) -> None:
        """Go on from a saved state."""
        self._history = [{**row, "epoch": int(row["epoch"])} for row in state["history"]]
        self._epoch, self._scores, self._weights = state["epoch"], state["scores"], state["weights"]
        self._predicted = None if state["predicted"] is None else state["predicted"].numpy()

    def result(self, card: ModelCard, *, num_views: NDArray[np.int64], exposure: NDArray[np.float64]) -> Trained:
        """The kept epoch and the history."""
        return Trained(
            weights=self._weights,
            card=card,
            best_epoch=self._epoch,
            best=self._scores,
            predicted=np.empty((0, len(card.classes))) if self._predicted is None else self._predicted,
            history=self._history,
            num_views=num_views,
            exposure=exposure,
        )


def rank(scores: Mapping[str, float], selection: str) -> tuple[float, float]:
    """The sort key of an epoch, higher is better; ties go to the lower validation loss."""
    return -scores["loss"] if selection == "loss" else scores[selection], -scores["loss"]
