"""Do synthetic images look like their class? A judge trained on real photos that no generator has seen says so.

Two figures a class: the share of images that the judge takes for the class they were drawn for, and the kernel
inception distance (Binkowski et al., arXiv 1801.01401) to the class's held-out photos, with the judge's features in
place of Inception's: a network that has learned from this subject, and needs no download. So its values compare the
generators of one study, not studies.
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
from sdaug.fidelity.classifier import TRAINING, fitted_recipe
from sdaug.train.training import train_classifier

Images = NDArray[np.uint8]
Features = NDArray[np.float64]

EPSILON = 1.0e-6


class Judge:
    """A classifier of real photos, and what its last layer sees."""

    def __init__(self, photos: Images, labels: NDArray[np.int64], classes: Sequence[str], *, seed: int) -> None:
        """Train on `(N, H, W, 3)` held-out photos and their class indices."""
        self.classes = list(classes)
        everything = (photos, labels)
        # It is never asked about these photos' classes, so that nothing is lost if it also validates on them.
        trained = train_classifier(
            everything,
            everything,
            self.classes,
            recipe=fitted_recipe(photos),
            # A rare class weighs as much as a common one, or the judge would never name it.
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
        """The share of `(N, H, W, 3)` images that are taken for `label`, and the mean probability given to it."""
        probabilities, k = predict(self._model, images, self._card), self.classes.index(label)
        return float(np.mean(probabilities.argmax(axis=1) == k)), float(probabilities[:, k].mean())

    def features(self, images: Images) -> Features:
        """`(N, D)` inputs of the last layer, each with mean 0 and deviation 1 over the judge's photos."""
        standard: Features = (features_of(self._model, images, self._card) - self._center) / self._scale
        return standard


def features_of(model: nn.Module, images: Images, card: ModelCard) -> Features:
    """What the last linear layer of a model is given, `(N, D)`."""
    kept: list[torch.Tensor] = []
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].double().cpu()))
    try:
        predict(model, images, card)
    finally:
        handle.remove()
    return torch.cat(kept).numpy()


def kernel_distance(first: Features, second: Features) -> float:
    """The unbiased squared maximum mean discrepancy of `(M, D)` and `(N, D)` features, kernel (x.y / D + 1)^3.

    Two samples of one distribution give 0 on average, so that a value can be below 0.

    Raises:
        ValueError: fewer than two images on one side.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"kernel distance of {len(first)} and {len(second)} images; need 2 or more of each")
    own = [polynomial_kernel(x, degree=3, coef0=1.0) for x in (first, second)]
    within = [(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in own]
    between = polynomial_kernel(first, second, degree=3, coef0=1.0).mean()
    return float(within[0] + within[1] - 2.0 * between)


def judge_images(judge: Judge, photos: Images, images: Images, label: str) -> dict[str, float | None]:
    """The figures of one class's images; the distance is None where there are fewer than two to compare."""
    can_compare = min(len(photos), len(images)) > 1
    distance = kernel_distance(judge.features(photos), judge.features(images)) if can_compare else None
    share, probability = judge.verdict(images, label)
    return {"class_share": share, "class_probability": probability, "kid": distance}
