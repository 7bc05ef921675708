"""The focal loss against torch's cross entropy and the formula of its paper."""

import pytest
import torch
import torch.nn.functional as F

from sdaug.classify.losses import focal_loss
from sdaug.classify.training import build_loss

LOGITS = 3.0 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 4


def test_gamma_0_is_the_cross_entropy() -> None:
    torch.testing.assert_close(focal_loss(LOGITS, LABELS, gamma=0.0), F.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_formula_of_the_paper(gamma: float) -> None:
    p = LOGITS.softmax(dim=1).gather(1, LABELS[:, None]).squeeze(1)
    torch.testing.assert_close(focal_loss(LOGITS, LABELS, gamma=gamma), (-((1 - p) ** gamma) * p.log()).mean())


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_two_classes_agree_with_the_sigmoid_focal_loss(gamma: float) -> None:
    from torchvision.ops import sigmoid_focal_loss

    score, target = LOGITS[:, 0], LABELS % 2
    wanted = sigmoid_focal_loss(score, target.float(), alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(focal_loss(torch.stack([torch.zeros(20), score], dim=1), target, gamma=gamma), wanted)


def test_focal_loss_is_at_most_the_cross_entropy() -> None:
    assert focal_loss(LOGITS, LABELS, gamma=2.0) < F.cross_entropy(LOGITS, LABELS)


def test_gradient_is_finite_where_the_model_is_certain() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), gamma=2.0).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("name", "gamma"), [("cross_entropy", 0.0), ("focal", 2.0)])
def test_arm_gets_the_loss_that_it_names(name: str, gamma: float) -> None:
    built = build_loss(name, focal_gamma=2.0)
    torch.testing.assert_close(built(LOGITS, LABELS), focal_loss(LOGITS, LABELS, gamma=gamma))
