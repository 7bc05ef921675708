"""The order of images in an epoch, with plain or class-balanced sampling, and its batches."""

import numpy as np
import torch
from numpy.typing import NDArray


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
    return pool[torch.randperm(len(pool), generator=order)]


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


def _repeat(members: NDArray[np.int64], num_wanted: int, order: torch.Generator) -> torch.Tensor:
    whole, rest = divmod(num_wanted, len(members))
    extra = members[torch.randperm(len(members), generator=order)[:rest].numpy()]
    return torch.from_numpy(np.concatenate([np.tile(members, whole), extra]))
