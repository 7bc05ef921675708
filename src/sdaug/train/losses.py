"""The losses of the study, for class indices `(B,)` and for mixed labels `(B, K)`, weighted by class and by image."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from sdaug.train.params import ArmTraining

AUXILIARY_WEIGHT = 0.4  # not given by Szegedy et al., arXiv 1512.00567; torchvision's reference training uses 0.4
Output = torch.Tensor | tuple[torch.Tensor, torch.Tensor]  # logits `(B, K)`, and those of an auxiliary head


class Loss(Protocol):
    """The mean loss of logits `(B, K)`; with `weights` `(B,)`, the mean weighted by them."""

    def __call__(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor: ...


def build_loss(arm: ArmTraining, by_class: Sequence[float] | None, device: torch.device) -> Loss:
    """The loss of an arm; `by_class` are its class weights.

    Weights of images are relative, as torch's weights of classes: an image of weight 0.25 counts as much as one that is
    in the batch a quarter as often.
    """
    weight = None if by_class is None else torch.tensor(by_class, dtype=torch.float32, device=device)

    def focal(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        return focal_loss(
            logits,
            targets,
            gamma=arm.focal_gamma,
            weight=weight,
            label_smoothing=arm.label_smoothing,
            image_weights=weights,
        )

    def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        # For class indices, torch divides by the batch's sum of class weights; `focal_loss` divides by the batch size.
        if weights is None:
            return F.cross_entropy(logits, targets, weight=weight, label_smoothing=arm.label_smoothing)
        losses = F.cross_entropy(logits, targets, weight=weight, label_smoothing=arm.label_smoothing, reduction="none")
        if weight is not None and targets.ndim == 1:
            return (weights * losses).sum() / (weights * weight[targets]).sum()
        return (weights * losses).sum() / weights.sum()

    return focal if arm.loss == "focal" else cross_entropy


def plain_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """The mean cross entropy of class indices `(B,)`, all images counting the same."""
    assert weights is None
    return F.cross_entropy(logits, targets)


def class_weights(
    arm: ArmTraining, labels: NDArray[np.int64], num_classes: int, importance: NDArray[np.float64] | None = None
) -> Sequence[float] | None:
    """One weight per class, or None; weights computed from class counts have mean 1 over the training images.

    With `importance` `(N,)`, each image counts as so many. `effective_number` is Cui et al., arXiv 1901.05555, eq. 2. A
    class without images has weight 0.

    Raises:
        ValueError: the arm does not list one class weight per class.
    """
    if isinstance(arm.class_weights, list):
        if len(arm.class_weights) != num_classes:
            raise ValueError(
                f"params.yaml: datasets: class_weights: {arm.class_weights}; need {num_classes}, one per class"
            )
        return arm.class_weights
    if arm.class_weights == "none":
        return None
    present, counts = np.unique(labels, return_counts=True)
    if importance is not None:
        counts = np.bincount(labels, weights=importance, minlength=num_classes)[present]
    if arm.class_weights == "inverse_frequency":
        values = compute_class_weight("balanced", classes=present, y=labels, sample_weight=importance)
    else:
        values = (1.0 - arm.effective_number_beta) / (1.0 - arm.effective_number_beta**counts)
        # scikit-learn's balanced weights already have mean 1 over the images.
        values *= counts.sum() / (values * counts).sum()
    weights = np.zeros(num_classes)
    weights[present] = values
    return list(weights.tolist())


def focal_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    gamma: float,
    weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    image_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean focal loss of logits `(B, K)` (Lin et al., arXiv 1708.02002, eq. 5); `weight` `(K,)` is alpha per class.

    With `image_weights` `(B,)` it is the mean weighted by them.

    With `gamma` 0 and no weight it is the cross entropy.
    """
    _, K = logits.shape
    log_p = F.log_softmax(logits, dim=1)
    shares = F.one_hot(targets, K).to(log_p.dtype) if targets.ndim == 1 else targets
    if label_smoothing:
        shares = shares * (1.0 - label_smoothing) + label_smoothing / K
    if weight is not None:
        shares = shares * weight
    # For gamma below 1, doubt**gamma has an infinite gradient at 0.
    doubt = (1.0 - log_p.exp()).clamp_min(torch.finfo(log_p.dtype).tiny)
    losses = -(shares * doubt**gamma * log_p).sum(dim=1)
    return losses.mean() if image_weights is None else (image_weights * losses).sum() / image_weights.sum()


def combined_loss(output: Output, targets: torch.Tensor, loss: Loss) -> torch.Tensor:
    """The loss, plus the weighted loss of the auxiliary head if the model has one."""
    if isinstance(output, torch.Tensor):
        return loss(output.float(), targets)
    logits, auxiliary = output
    return loss(logits.float(), targets) + AUXILIARY_WEIGHT * loss(auxiliary.float(), targets)
