"""The losses, checked against torch's cross entropy and the formulas of the papers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from arms import arm_training
from sklearn.utils.class_weight import compute_class_weight

from sdaug.train.losses import build_loss, class_weights, focal_loss

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


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradient_is_finite_where_the_model_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), gamma=gamma).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


COUNTS = np.array([0] * 9 + [1] * 6 + [2] * 4 + [3])
CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "gamma"), [("cross_entropy", 0.0), ("focal", 2.0)])
def test_arm_gets_the_loss_that_it_names(name: str, gamma: float) -> None:
    built = build_loss(arm_training(loss=name, focal_gamma=2.0), None, CPU)
    torch.testing.assert_close(built(LOGITS, LABELS), focal_loss(LOGITS, LABELS, gamma=gamma))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", ["none", "inverse_frequency", "effective_number", [1.0, 2.0, 0.5, 4.0]])
def test_cross_entropy_is_that_of_torch(smoothing: float, weights: str | list[float]) -> None:
    arm = arm_training(label_smoothing=smoothing, class_weights=weights)
    values = class_weights(arm, COUNTS, 4)
    reference = torch.nn.CrossEntropyLoss(
        weight=None if values is None else torch.tensor(values), label_smoothing=smoothing
    )
    torch.testing.assert_close(build_loss(arm, values, CPU)(LOGITS, LABELS), reference(LOGITS, LABELS))


@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_two_classes_with_alpha_agree_with_the_sigmoid_focal_loss(alpha: float) -> None:
    from torchvision.ops import sigmoid_focal_loss

    score, target = LOGITS[:, 0], LABELS % 2
    wanted = sigmoid_focal_loss(score, target.float(), alpha=alpha, gamma=2.0, reduction="mean")
    arm = arm_training(loss="focal", class_weights=[1.0 - alpha, alpha])
    two = torch.stack([torch.zeros(20), score], dim=1)
    torch.testing.assert_close(build_loss(arm, [1.0 - alpha, alpha], CPU)(two, target), wanted)


def test_inverse_frequency_is_that_of_scikit_learn() -> None:
    wanted = compute_class_weight("balanced", classes=np.arange(4), y=COUNTS)
    assert class_weights(arm_training(class_weights="inverse_frequency"), COUNTS, 4) == pytest.approx(wanted)


def test_effective_numbers_are_those_of_the_paper() -> None:
    weights = np.array(class_weights(arm_training(class_weights="effective_number"), COUNTS, 4))
    raw = np.array([(1 - 0.999) / (1 - 0.999**n) for n in (9, 6, 4, 1)])
    assert weights / weights.sum() == pytest.approx(raw / raw.sum())
    assert weights[COUNTS].mean() == pytest.approx(1.0)


def test_number_of_listed_weights_must_be_that_of_the_classes() -> None:
    with pytest.raises(ValueError, match=r"class_weights: \[1.0, 2.0\]; need 4"):
        class_weights(arm_training(class_weights=[1.0, 2.0]), COUNTS, 4)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
@pytest.mark.parametrize("weights", ["none", [1.0, 2.0, 0.5, 4.0]])
def test_mixed_labels_of_one_class_give_the_loss_of_its_index(loss: str, weights: str | list[float]) -> None:
    arm = arm_training(loss=loss, class_weights=weights)
    built = build_loss(arm, class_weights(arm, COUNTS, 4), CPU)
    shares = torch.nn.functional.one_hot(LABELS, 4).float()
    each = torch.stack([built(row[None], label[None]) for row, label in zip(LOGITS, LABELS, strict=True)])
    if loss == "cross_entropy" and weights != "none":
        each = each * torch.tensor(weights)[LABELS]  # torch divides by the weights for class indices only
    torch.testing.assert_close(built(LOGITS, shares), each.mean())


@pytest.mark.parametrize("weights", [[1.0, 0.0], [-1.0, 2.0], []])
def test_weights_that_leave_a_class_out_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"class_weights: .*need more than 0 for each class"):
        arm_training(class_weights=weights)


REPEATS = torch.tensor([1, 2, 3, 4]).repeat(5)


@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
@pytest.mark.parametrize("weights", ["none", [1.0, 2.0, 0.5, 4.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weight_of_an_image_is_worth_as_many_repetitions(
    smoothing: float, weights: str | list[float], loss: str, is_mixed: bool
) -> None:
    arm = arm_training(loss=loss, class_weights=weights, label_smoothing=smoothing)
    built = build_loss(arm, class_weights(arm, COUNTS, 4), CPU)
    targets = 0.7 * F.one_hot(LABELS, 4) + 0.3 * F.one_hot(LABELS.roll(1), 4) if is_mixed else LABELS
    # In an order of its own, so that weights do not go with classes.
    repeats = REPEATS[torch.randperm(20, generator=torch.Generator().manual_seed(1))]
    repeated = built(LOGITS.repeat_interleave(repeats, 0), targets.repeat_interleave(repeats, 0))
    torch.testing.assert_close(built(LOGITS, targets, repeats / 4), repeated)


@pytest.mark.parametrize("name", ["inverse_frequency", "effective_number"])
def test_class_weights_count_images_by_their_importance(name: str) -> None:
    arm = arm_training(class_weights=name)
    importance = np.where(np.arange(20) % 2, 1.0, 3.0)
    repeated = COUNTS.repeat(importance.astype(int))
    assert class_weights(arm, COUNTS, 4, importance) == pytest.approx(class_weights(arm, repeated, 4))
