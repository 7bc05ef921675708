"""The losses of the study, for class indices `(B,)` and for mixed labels `(B, K)`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from sdaug.classify.params import ArmTraining

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(arm: ArmTraining, labels: NDArray[np.int64], num_classes: int, device: torch.device) -> Loss:
    """The loss of an arm, with class weights computed from the training `labels`.

    Raises:
        ValueError: the arm does not list one class weight per class.
    """
    weights = class_weights(arm, labels, num_classes)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
    if arm.loss == "focal":
        return lambda logits, targets: focal_loss(
            logits, targets, gamma=arm.focal_gamma, weight=weight, label_smoothing=arm.label_smoothing
        )
    # For class indices, torch divides by the batch's sum of weights; `focal_loss` divides by the batch size.
    return lambda logits, targets: F.cross_entropy(logits, targets, weight=weight, label_smoothing=arm.label_smoothing)


def class_weights(arm: ArmTraining, labels: NDArray[np.int64], num_classes: int) -> Sequence[float] | None:
    """One weight per class, or None; weights computed from class counts have mean 1 over the training images.

    `effective_number` is Cui et al., arXiv 1901.05555, eq. 2. A class without images has weight 0.

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
    if arm.class_weights == "inverse_frequency":
        values = compute_class_weight("balanced", classes=present, y=labels)
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
) -> torch.Tensor:
    """The mean focal loss of logits `(B, K)` (Lin et al., arXiv 1708.02002, eq. 5); `weight` `(K,)` is alpha per class.

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
    return -(shares * doubt**gamma * log_p).sum(dim=1).mean()
