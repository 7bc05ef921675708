"""The batches of an epoch: plain, class-balanced, or with a fixed share of synthetic images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.train.examples import Labels


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The epochs of `rows` `(M,)` of a training set, with their `labels` and `is_synthetic`, both `(M,)`.

    With `synthetic_share`, an epoch has each real image once, and so many synthetic images that they make up that
    share: `num_real / (1 - synthetic_share)` images in all, rounded. In each batch the share holds to within one image.
    Synthetic images take turns: over the epochs they are shown equally often on average, and in one epoch as often as
    each other, but for a random remainder.
    """

    rows: Labels
    labels: Labels
    is_synthetic: NDArray[np.bool_]
    sampler: str
    synthetic_share: float | None
    batch_size: int

    @property
    def num_batches(self) -> int:
        """The number of batches that `draw` returns."""
        num_images = count_epoch(self.labels, self.sampler)
        if self.synthetic_share is not None:
            num_images = int((~self.is_synthetic).sum()) + self.num_synthetic
        return count_batches(num_images, self.batch_size)

    @property
    def num_synthetic(self) -> int:
        """The number of synthetic images that an epoch shows, repetitions counted; for epochs with a share."""
        assert self.synthetic_share is not None
        num_real = int((~self.is_synthetic).sum())
        return max(1, round(num_real / (1.0 - self.synthetic_share)) - num_real)

    def draw(self, order: torch.Generator) -> list[torch.Tensor]:
        """The batches of one epoch, as rows of the training set."""
        rows = torch.from_numpy(self.rows)
        if self.synthetic_share is None:
            return cut_batches(rows[draw_epoch(self.labels, self.sampler, order)], self.batch_size)
        real = torch.from_numpy(np.flatnonzero(~self.is_synthetic))
        synthetic = _repeat(np.flatnonzero(self.is_synthetic), self.num_synthetic, order)
        spread = rows[spread_evenly(_shuffle(real, order), _shuffle(synthetic, order))]
        # Shuffled again, since mixup mixes neighbours: real and synthetic images would always meet in the same way.
        return [_shuffle(batch, order) for batch in cut_batches(spread, self.batch_size)]


def spread_evenly(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Both sequences in one, so that any stretch has as large a share of each as the whole, to within one item."""
    num_all = len(first) + len(second)
    # Whole numbers, so that no rounding adds or drops an item.
    is_second = torch.arange(1, num_all + 1) * len(second) // num_all > torch.arange(num_all) * len(second) // num_all
    spread = torch.empty(num_all, dtype=first.dtype)
    spread[~is_second], spread[is_second] = first, second
    return spread


def draw_epoch(labels: NDArray[np.int64], sampler: str, order: torch.Generator) -> torch.Tensor:
    """The image indices of one epoch, shuffled.

    `plain`: every image once. `balanced`: each class is oversampled to the size of the largest; its images are repeated
    equally often, except for a random remainder.
    """
    if sampler == "plain":
        return torch.randperm(len(labels), generator=order)
    _, counts = np.unique(labels, return_counts=True)
    chosen = [_repeat(np.flatnonzero(labels == label), int(counts.max()), order) for label in np.unique(labels)]
    pool = torch.cat(chosen)
    # The pool is still in class order.
    return _shuffle(pool, order)


def count_epoch(labels: NDArray[np.int64], sampler: str) -> int:
    """The number of indices that `draw_epoch` returns."""
    _, counts = np.unique(labels, return_counts=True)
    return len(labels) if sampler == "plain" else int(counts.max()) * len(counts)


def cut_batches(indices: torch.Tensor, batch_size: int) -> list[torch.Tensor]:
    """Batches of all indices; a last batch of one image is merged into the previous one, since batch norm needs two."""
    batches = list(indices.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def count_batches(num_images: int, batch_size: int) -> int:
    """The number of batches that `cut_batches` returns."""
    whole, rest = divmod(num_images, batch_size)
    return max(1, whole + (rest > 1))


def _shuffle(items: torch.Tensor, order: torch.Generator) -> torch.Tensor:
    return items[torch.randperm(len(items), generator=order)]


def _repeat(members: NDArray[np.int64], num_wanted: int, order: torch.Generator) -> torch.Tensor:
    whole, rest = divmod(num_wanted, len(members))
    extra = members[torch.randperm(len(members), generator=order)[:rest].numpy()]
    return torch.from_numpy(np.concatenate([np.tile(members, whole), extra]))
