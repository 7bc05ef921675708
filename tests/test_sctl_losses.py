"""The losses of SCTL-style training: each against plain NumPy, and its gradient against finite differences."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdaug.train.sctl_losses import (
    class_discrepancy,
    mean_squared_distance,
    separation_loss,
    squared_discrepancy,
)

STREAM = np.random.default_rng(0)
FEATURES, LABELS = STREAM.normal(size=(9, 5)), np.array([0, 1, 2, 0, 1, 2, 0, 0, 3])
OTHERS, PSEUDO = STREAM.normal(size=(6, 5)) + 0.5, np.array([0, 1, 1, 0, 2, 2])  # none of class 3
WIDTHS = [0.5, 1.0, 2.0]
Floats = NDArray[np.float64]


def numpy_separation(features: Floats, labels: NDArray[np.int64]) -> float:
    means = [features[labels == k].mean(axis=0) for k in sorted(set(labels.tolist()))]
    pairs = [(means[i], means[j]) for i in range(len(means)) for j in range(i)]
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


def numpy_scale(rows: Floats) -> float:
    pairs = [(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    return float(np.mean([((a - b) ** 2).sum() for a, b in pairs]))


def numpy_discrepancy(mine: Floats, theirs: Floats, scale: float) -> float:
    def mean_kernel(first: Floats, second: Floats) -> float:
        values = [np.exp(-((a - b) ** 2).sum() / (w * scale)) for a in first for b in second for w in WIDTHS]
        return float(np.mean(values))

    return mean_kernel(mine, mine) + mean_kernel(theirs, theirs) - 2 * mean_kernel(mine, theirs)


def discrepancy(features: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    labels = torch.from_numpy(LABELS), torch.from_numpy(PSEUDO)
    return class_discrepancy(features, labels[0], others, labels[1], num_classes=4, widths=WIDTHS)


def test_separation_is_the_mean_cosine_of_class_means() -> None:
    found = separation_loss(torch.from_numpy(FEATURES), torch.from_numpy(LABELS))
    assert float(found) == pytest.approx(numpy_separation(FEATURES, LABELS), rel=1e-12)


def test_separation_is_1_of_equal_directions_and_minus_1_of_opposite_ones() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    labels = torch.tensor([0, 1])
    assert float(separation_loss(features, labels)) == pytest.approx(1)
    assert float(separation_loss(features * torch.tensor([[1.0], [-1.0]]), labels)) == pytest.approx(-1)


def test_a_single_class_is_separate() -> None:
    features = torch.from_numpy(FEATURES).requires_grad_()
    assert float(separation_loss(features, torch.zeros(9, dtype=torch.int64))) == 0


def test_scale_is_the_mean_squared_distance_of_pairs() -> None:
    found = mean_squared_distance(torch.from_numpy(FEATURES).requires_grad_())
    assert float(found) == pytest.approx(numpy_scale(FEATURES), rel=1e-12) and not found.requires_grad


def test_discrepancy_is_that_of_the_definition() -> None:
    scale = torch.tensor(numpy_scale(FEATURES))
    tensors = torch.from_numpy(FEATURES), torch.from_numpy(OTHERS)
    found = squared_discrepancy(*tensors, scale=scale, widths=WIDTHS)
    assert float(found) == pytest.approx(numpy_discrepancy(FEATURES, OTHERS, float(scale)), rel=1e-6)


def test_discrepancy_of_classes_leaves_out_those_without_test_photos() -> None:
    scale = numpy_scale(np.concatenate([FEATURES, OTHERS]))
    by_class = [numpy_discrepancy(FEATURES[LABELS == k], OTHERS[PSEUDO == k], scale) for k in range(3)]
    found = discrepancy(torch.from_numpy(FEATURES), torch.from_numpy(OTHERS))
    assert float(found) == pytest.approx(sum(by_class) / 4, rel=1e-12)


def test_equal_features_have_no_discrepancy_and_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    found = class_discrepancy(features, labels, features.detach(), labels, num_classes=2, widths=WIDTHS)
    found.backward()
    assert float(found) == 0
    assert features.grad is not None and torch.isfinite(features.grad).all()


def test_gradients_are_those_of_finite_differences() -> None:
    features = torch.from_numpy(FEATURES).requires_grad_()
    others = torch.from_numpy(OTHERS).requires_grad_()
    labels = torch.from_numpy(LABELS)
    scale = torch.tensor(3.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: separation_loss(f, labels), (features,))
    assert torch.autograd.gradcheck(
        lambda f, o: squared_discrepancy(f, o, scale=scale, widths=WIDTHS), (features, others)
    )


def test_gradient_of_the_class_discrepancy_takes_the_scale_as_a_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    features, others = (torch.from_numpy(rows).requires_grad_() for rows in (FEATURES, OTHERS))
    scale = mean_squared_distance(torch.cat([features, others]))
    monkeypatch.setattr("sdaug.train.sctl_losses.mean_squared_distance", lambda _: scale)
    assert torch.autograd.gradcheck(discrepancy, (features, others))
