"""Fidelity of synthetic images to their class, by a judge trained on real photos that no generator has seen.

Two metrics per class: the share of images that the judge assigns to the class they were generated for, and the kernel
inception distance (Binkowski et al., arXiv 1801.01401) to the class's held-out photos. The features come from the judge
instead of Inception, because it was trained on this subject and needs no download; so the values compare generators
within a study, not across studies.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics.pairwise import polynomial_kernel
from torch import nn

from sdaug.classify.inference import predict
from sdaug.classify.models import ModelCard
from sdaug.classify.params import ArmTraining
from sdaug.train.probe import TRAINING, fitted_recipe
from sdaug.train.training import train_classifier

Images = NDArray[np.uint8]
Features = NDArray[np.float64]

EPSILON = 1.0e-6  # a feature that is the same for all photos has no spread


class Judge:
    """A classifier of real photos, and the standardised inputs of its last layer as features."""

    def __init__(self, photos: Images, labels: NDArray[np.int64], classes: Sequence[str], *, seed: int) -> None:
        """Train on held-out photos `(N, H, W, 3)` and their class indices `(N,)`."""
        self.classes = list(classes)
        # The stage adds VAE reconstructions. A judge of sharp photos alone knew 83 % of the training photos of score 3,
        # but only 11 % of their reconstructions (LOG.md, 2026-11-23).
        everything = (photos, labels)
        # The judge never has to predict the classes of these photos, so it can validate on them too.
        trained = train_classifier(
            everything,
            everything,
            self.classes,
            recipe=fitted_recipe(photos),
            # Without class weights the judge would never predict a rare class.
            arm=ArmTraining(class_weights="inverse_frequency", flip_horizontal=True),
            shared=TRAINING,
            seed=seed,
            device=torch.device("cpu"),
            title="judge",
        )
        self._model, self._card = trained.build(), trained.card
        raw = features_of(self._model, photos, self._card)
        self._center, self._scale = raw.mean(axis=0), raw.std(axis=0) + EPSILON

    def verdict(self, images: Images, label: str) -> tuple[float, float]:
        """The share of images `(N, H, W, 3)` classified as `label`, and the mean probability of `label`."""
        # Shares are good to about 15 points: rounding in the judge's training moves them (LOG.md, 2026-11-23).
        probabilities, k = predict(self._model, images, self._card), self.classes.index(label)
        return float(np.mean(probabilities.argmax(axis=1) == k)), float(probabilities[:, k].mean())

    def features(self, images: Images) -> Features:
        """The inputs `(N, D)` of the last layer, with mean 0 and standard deviation 1 over the judge's photos."""
        standard: Features = (features_of(self._model, images, self._card) - self._center) / self._scale
        return standard


def features_of(model: nn.Module, images: Images, card: ModelCard) -> Features:
    """The inputs `(N, D)` of a model's last linear layer."""
    kept: list[torch.Tensor] = []
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].double().cpu()))
    try:
        predict(model, images, card)
    finally:
        handle.remove()
    return torch.cat(kept).numpy()


def kernel_distance(first: Features, second: Features) -> float:
    """The unbiased squared maximum mean discrepancy of features `(M, D)` and `(N, D)`, kernel (x.y / D + 1)^3.

    Two samples of one distribution give 0 on average, so values can be negative.

    Raises:
        ValueError: fewer than two images on either side.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"kernel distance of {len(first)} and {len(second)} images; need 2 or more of each")
    # scikit-learn's default gamma is 1 / D. Without the diagonal the estimate is unbiased.
    own = [polynomial_kernel(x, degree=3, coef0=1.0) for x in (first, second)]
    within = [(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in own]
    between = polynomial_kernel(first, second, degree=3, coef0=1.0).mean()
    return float(within[0] + within[1] - 2.0 * between)


def judge_images(judge: Judge, photos: Images, images: Images, label: str) -> dict[str, float | None]:
    """The fidelity metrics of one class; `kid` is None if there are fewer than two photos or images."""
    can_compare = min(len(photos), len(images)) > 1
    distance = kernel_distance(judge.features(photos), judge.features(images)) if can_compare else None
    share, probability = judge.verdict(images, label)
    return {"class_share": share, "class_probability": probability, "kid": distance}
