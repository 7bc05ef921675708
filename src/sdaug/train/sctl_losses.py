"""The losses of SCTL-style training beside cross entropy: separation of classes, and class-wise discrepancy.

The equations of Zhang et al. (doi 10.3390/ani12070886) are not known to us; these are ours, for the terms that the
paper names.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

SMALLEST_DISTANCE = 1.0e-12  # stands in for the mean squared distance of features that are all equal


def separation_loss(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean cosine similarity of class-mean features over all pairs of classes, -1 to 1; 0 of a single class.

    `features` are `(B, D)`, `labels` `(B,)` class indices; classes that are missing from the batch have no pairs.
    """
    means = [features[labels == label].mean(dim=0) for label in torch.unique(labels)]
    if len(means) < 2:
        return features.new_zeros(())
    normal = F.normalize(torch.stack(means), dim=1)
    first, second = torch.triu_indices(len(means), len(means), offset=1, device=features.device)
    return (normal[first] * normal[second]).sum(dim=1).mean()


def class_discrepancy(
    features: torch.Tensor,
    labels: torch.Tensor,
    others: torch.Tensor,
    other_labels: torch.Tensor,
    *,
    num_classes: int,
    widths: Sequence[float],
) -> torch.Tensor:
    """The sum over classes of the squared discrepancy of two sets of features, divided by the number of classes.

    `features` `(B, D)` and `others` `(M, D)` have the class indices `labels` `(B,)` and `other_labels` `(M,)`. A class
    that is missing from either set adds nothing. Kernel widths are relative to `mean_squared_distance` of all features.
    """
    scale = mean_squared_distance(torch.cat([features, others]))
    total = features.new_zeros(())
    for label in range(num_classes):
        mine, theirs = features[labels == label], others[other_labels == label]
        if len(mine) and len(theirs):
            total = total + squared_discrepancy(mine, theirs, scale=scale, widths=widths)
    return total / num_classes


def squared_discrepancy(
    features: torch.Tensor, others: torch.Tensor, *, scale: torch.Tensor, widths: Sequence[float]
) -> torch.Tensor:
    """The squared maximum mean discrepancy of `(B, D)` and `(M, D)`, 0 to 2 (Gretton et al., JMLR 13:723, eq. 5).

    It is the biased estimate, which a single feature has as well. The kernel is the mean of Gaussian ones, one for each
    width: `exp(-d^2 / (width * scale))`.
    """
    B = len(features)
    everything = torch.cat([features, others])
    kernel = torch.stack([torch.exp(-squared_distances(everything) / (width * scale)) for width in widths]).mean(dim=0)
    return kernel[:B, :B].mean() + kernel[B:, B:].mean() - 2 * kernel[:B, B:].mean()


def mean_squared_distance(features: torch.Tensor) -> torch.Tensor:
    """The mean over all pairs of features `(N, D)`, as a constant: no gradient makes kernels wider."""
    N, _ = features.shape
    there = features.detach()
    # The distances of all pairs are twice those from the mean.
    return (2 * (there - there.mean(dim=0)).square().sum() / max(1, N - 1)).clamp_min(SMALLEST_DISTANCE)


def squared_distances(features: torch.Tensor) -> torch.Tensor:
    """All squared distances `(N, N)` of features `(N, D)`."""
    # Differences, not the product of matrices that `torch.cdist` takes: its rounding makes equal features distinct.
    return (features[:, None] - features[None]).square().sum(dim=2)
