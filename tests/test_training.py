"""Training: the best epoch is kept, a seed reproduces the weights, and the number of steps can be fixed."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from arms import PLAIN, arm_training
from peaks import largest_float

from sdaug.classify.inference import predict
from sdaug.classify.models import create_network
from sdaug.classify.scores import score
from sdaug.common.packed import Packed
from sdaug.train import loop, losses
from sdaug.train.batches import Epochs
from sdaug.train.examples import Labels, TrainingSet, photos_alone
from sdaug.train.losses import Loss, combined_loss
from sdaug.train.params import ArmTraining, Recipe
from sdaug.train.probe import RECIPE, TRAINING
from sdaug.train.selection import Trained, rank
from sdaug.train.training import train_classifier

STREAM = np.random.default_rng(0)
LABELS = np.arange(13) % 3
IMAGES = STREAM.integers(0, 256, (13, 16, 16, 3), dtype=np.uint8)
HELD_OUT = STREAM.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8), np.arange(9) % 3
NOTHING = HELD_OUT[0][:0], HELD_OUT[1][:0]
SMALL = {"options": {}, "image_size": 16, "batch_size": 4, "epochs": 4}
EVERYTHING = arm_training(
    loss="focal", class_weights="effective_number", sampler="balanced", flip_horizontal=True, flip_vertical=True,
    rotation_degrees=20, crop_scale=0.6, brightness=0.3, contrast=0.3, saturation=0.3, randaugment_ops=1,
    mixup_alpha=0.4, cutmix_alpha=1.0, label_smoothing=0.1,
)  # fmt: skip


def train(
    *,
    seed: int = 0,
    arm: ArmTraining = PLAIN,
    shared: dict[str, Any] | None = None,
    data: tuple[Any, Any] | TrainingSet = (IMAGES, LABELS),
    validation: tuple[Any, Any] = HELD_OUT,
    **knobs: Any,
) -> Trained:
    return train_classifier(
        data if isinstance(data, TrainingSet) else photos_alone(*data),
        validation,
        ["a", "b", "c"],
        recipe=Recipe(**{**vars(RECIPE), **SMALL, **knobs}),
        arm=arm,
        shared=replace(TRAINING, **{"selection": "balanced_accuracy", **(shared or {})}),
        seed=seed,
        device=torch.device("cpu"),
        title="small",
    )


def is_same(first: Trained, second: Trained) -> bool:
    return all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())


def use_loss(monkeypatch: pytest.MonkeyPatch, loss: Loss) -> None:
    monkeypatch.setattr(loop, "build_loss", lambda *_: loss)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


@pytest.mark.parametrize("arm", [arm_training(), EVERYTHING])
def test_same_seed_gives_the_same_weights_bit_for_bit(arm: ArmTraining) -> None:
    first = train(arm=arm, epochs=2)
    torch.manual_seed(99)
    np.random.seed(99)
    assert is_same(first, train(arm=arm, epochs=2))


def test_another_seed_gives_other_weights(trained: Trained) -> None:
    assert not is_same(trained, train(seed=1, epochs=1))


@pytest.mark.parametrize("arm", [arm_training(), EVERYTHING])
def test_training_leaves_the_global_stream_alone(arm: ArmTraining) -> None:
    torch.manual_seed(5)
    train(arm=arm, epochs=1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def first_weights(arm: ArmTraining, monkeypatch: pytest.MonkeyPatch, **knobs: Any) -> list[torch.Tensor]:
    """The initial weights of a training run."""
    seen: list[list[torch.Tensor]] = []
    build = loop.build_optimizer

    def watching(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        seen.append([weight.detach().clone() for weight in model.parameters()])
        return build(model, recipe)

    monkeypatch.setattr(loop, "build_optimizer", watching)
    train(arm=arm, epochs=1, **knobs)
    return seen[0]


def test_arms_of_one_seed_start_from_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = first_weights(arm_training(), monkeypatch)
    other = first_weights(EVERYTHING, monkeypatch, data=(IMAGES[:9], LABELS[:9]))
    assert all(torch.equal(*pair) for pair in zip(plain, other, strict=True))


def test_augmentation_does_not_change_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[int]] = []
    draw = Epochs.draw

    def watching(*args: Any) -> list[torch.Tensor]:
        batches = draw(*args)
        orders.append(torch.cat(batches).tolist())
        return batches

    monkeypatch.setattr(Epochs, "draw", watching)
    for arm in (arm_training(), replace(EVERYTHING, sampler="plain")):
        train(arm=arm, epochs=2)
    assert orders[:2] == orders[2:]


def test_loss_meets_every_label_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[int] = []

    def watching(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        met.extend(targets.tolist())
        return F.cross_entropy(logits, targets)

    use_loss(monkeypatch, watching)
    train(epochs=2)
    assert sorted(met) == sorted([*LABELS.tolist(), *LABELS.tolist()])


@pytest.mark.parametrize(("steps", "num_epochs"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_steps_are_counted_whatever_the_size_of_the_data(
    steps: int, num_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def watching(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(len(targets))
        return F.cross_entropy(logits, targets)

    use_loss(monkeypatch, watching)
    result = train(epochs=None, steps=steps, batch_size=3)
    assert (len(calls), len(result.history)) == (steps, num_epochs)


@pytest.mark.parametrize(
    ("selection", "column", "sign"),
    [
        ("balanced_accuracy", "validation_balanced_accuracy", 1),
        ("accuracy", "validation_accuracy", 1),
        ("macro_f1", "validation_macro_f1", 1),
        ("loss", "validation_loss", -1),
    ],
)
def test_best_epoch_is_the_best_of_the_history(selection: str, column: str, sign: int) -> None:
    result = train(shared={"selection": selection})
    best = max(result.history, key=lambda row: (sign * row[column], -row["validation_loss"]))
    assert result.best_epoch == best["epoch"]


def test_tie_goes_to_the_lower_loss() -> None:
    scores = {"accuracy": 0.5, "loss": 1.0}
    assert rank({**scores, "loss": 0.9}, "accuracy") > rank(scores, "accuracy")


def test_history_has_every_epoch(trained: Trained) -> None:
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4]


def test_without_validation_the_last_epoch_is_kept() -> None:
    result = train(validation=NOTHING)
    assert (result.best_epoch, result.best, len(result.predicted)) == (4, {}, 0)


def test_early_stopping_ends_when_no_epoch_was_better_for_so_long() -> None:
    result = train(shared={"early_stopping_epochs": 2, "selection": "loss"}, epochs=40, learning_rate=0.02)
    assert len(result.history) == result.best_epoch + 2 < 40


def test_average_of_the_weights_is_what_is_kept_and_validated(trained: Trained) -> None:
    averaged = train(shared={"ema_decay": 0.9})
    assert not is_same(trained, averaged)
    assert score(predict(averaged.build(), HELD_OUT[0], averaged.card), HELD_OUT[1]) == pytest.approx(averaged.best)


def test_gradients_are_clipped() -> None:
    knobs: dict[str, Any] = {"epochs": 1, "optimizer": "sgd", "weight_decay": 0.0}
    still = train(shared={"max_grad_norm": 1e-12}, learning_rate=0.1, **knobs)
    moved = train(learning_rate=0.1, **knobs)
    start = train(learning_rate=1e-12, **knobs)
    distance = [float((run.weights["head.weight"] - start.weights["head.weight"]).norm()) for run in (still, moved)]
    assert distance[0] < 1e-6 < distance[1]


def test_bfloat16_learns_about_the_same_and_keeps_float32_weights(trained: Trained) -> None:
    result = train(shared={"precision": "bf16"})
    assert {tensor.dtype for tensor in result.weights.values()} <= {torch.float32, torch.int64}
    assert result.history[0]["train_loss"] == pytest.approx(trained.history[0]["train_loss"], rel=0.05)


def test_kept_scores_are_those_of_the_best_epoch(trained: Trained) -> None:
    row = trained.history[trained.best_epoch - 1]
    assert trained.best == {name: row[f"validation_{name}"] for name in trained.best}


def test_kept_weights_give_the_kept_scores(trained: Trained) -> None:
    assert score(predict(trained.build(), HELD_OUT[0], trained.card), HELD_OUT[1]) == pytest.approx(trained.best)


def test_loss_that_is_nan_stops_and_names_epoch_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def exploding(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return F.cross_entropy(logits, targets) * (float("nan") if calls > 4 else 1.0)

    use_loss(monkeypatch, exploding)
    with pytest.raises(ValueError, match=r"^small: epoch 2: step 2: the loss is not finite; lower the learning rate"):
        train()


def test_weights_that_explode_in_the_last_step_name_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loss(monkeypatch, lambda logits, targets: F.cross_entropy(logits, targets) * 1.0e38)
    with pytest.raises(ValueError, match=r"^small: epoch 1: .*lower the learning rate"):
        train(optimizer="sgd", learning_rate=10.0, batch_size=13)


def test_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size: 14 \(small\); there are 13 training images; lower batch_size"):
        train(batch_size=14)


def test_batch_of_all_the_data_trains() -> None:
    assert train(batch_size=13, epochs=1).best_epoch == 1


def test_auxiliary_head_weighs_0_4() -> None:
    logits, targets = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    both = combined_loss((logits, -logits), targets, F.cross_entropy)
    torch.testing.assert_close(both, F.cross_entropy(logits, targets) + 0.4 * F.cross_entropy(-logits, targets))


def test_inception_learns_with_its_auxiliary_head(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = {"architecture": "inception_v3", "options": {"aux_logits": True}, "image_size": 299}
    knobs |= {"steps": 1, "epochs": None, "batch_size": 2, "data": (IMAGES[:2], LABELS[:2]), "validation": NOTHING}
    helped = train(**knobs)
    monkeypatch.setattr(losses, "AUXILIARY_WEIGHT", 0.0)
    name = "Mixed_6e.branch_pool.conv.weight"  # feeds both heads
    assert not torch.equal(helped.weights[name], train(**knobs).weights[name])


def test_auxiliary_head_is_not_kept() -> None:
    knobs = {"architecture": "inception_v3", "image_size": 299, "steps": 1, "epochs": None, "batch_size": 2}
    trained = train(**knobs, options={"aux_logits": True}, data=(IMAGES[:2], LABELS[:2]))
    assert trained.card.options == {} and not any("Aux" in name for name in trained.weights)
    assert predict(trained.build(), IMAGES[:2], trained.card).shape == (2, 3)


def test_inception_answers_once_in_evaluation() -> None:
    model = create_network("inception_v3", 3, {"aux_logits": True})
    plain = timm.create_model("inception_v3", num_classes=3, aux_logits=True)
    plain.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.train()(images), plain.train()(images))
        torch.testing.assert_close(model.eval()(images), plain.eval()(images)[0])


@pytest.mark.slow
def test_a_compiled_model_learns_the_same() -> None:
    """Takes minutes and needs a C++ compiler."""
    knobs = {"epochs": 1, "learning_rate": 1.0e-3, "optimizer": "sgd", "momentum": 0.0}
    plain, compiled = (train(shared={"compile": is_on}, **knobs) for is_on in (False, True))
    assert plain.weights.keys() == compiled.weights.keys()
    for name, weight in plain.weights.items():
        torch.testing.assert_close(compiled.weights[name], weight, rtol=1.0e-4, atol=1.0e-5)


def test_weights_that_explode_without_validation_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    use_loss(monkeypatch, lambda logits, targets: F.cross_entropy(logits, targets) * 1.0e38)
    with pytest.raises(ValueError, match=r"^small: epoch 1: after step 1: the predictions are not finite; lower the"):
        train(optimizer="sgd", learning_rate=10.0, batch_size=13, epochs=1, validation=NOTHING)


def test_a_frozen_backbone_keeps_its_statistics_and_its_dropout() -> None:
    model = timm.create_model("test_resnet", num_classes=3, drop_rate=0.5)
    frozen = {"architecture": "test_resnet", "pretrained": True, "freeze_backbone": True}
    loop.set_training(model, Recipe(**{**vars(RECIPE), **SMALL, **frozen}))
    assert model.training
    assert not any(module.training for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_no_tensor_holds_all_images_as_floats() -> None:
    images = STREAM.integers(0, 256, (4000, 16, 16, 3), dtype=np.uint8)
    data = images, np.arange(4000) % 3
    assert largest_float(lambda: train(data=data, validation=data, epochs=None, steps=2)) < images.size


def packed(labels: Labels, parts: list[str]) -> Packed:
    """Photos of these labels, without a look at them."""
    count = len(labels)
    return Packed(
        images=np.zeros((count, 1, 1, 3), np.uint8),
        ids=[str(n) for n in range(count)],
        groups=[str(n) for n in range(count)],
        labels=labels,
        origins=np.full(count, "real"),
        parts=np.array(parts),
        in_draw=np.full(count, ""),
    )


@pytest.mark.parametrize("num_validation", [9, 0])
def test_metrics_hold_validation_scores_for_equally_common_classes(trained: Trained, num_validation: int) -> None:
    describe = runpy.run_path(str(Path(__file__).parents[1] / "stages" / "train.py"))["describe"]
    run = trained if num_validation else train(validation=NOTHING)
    truth = HELD_OUT[1][:num_validation]
    data = packed(np.concatenate([LABELS, truth]), ["train"] * len(LABELS) + ["validation"] * num_validation)
    found = describe(replace(run, exposure=np.where(LABELS == 0, 9.0, 1.0)), data, ["a", "b", "c"], None)
    scores = {key: value for key, value in found.items() if key.startswith("prior_corrected_validation_")}
    if not num_validation:
        assert scores == {}
        return
    corrected = run.predicted / np.array([45, 4, 4])  # five, four and four photos
    wanted = score(corrected / corrected.sum(axis=1, keepdims=True), truth)
    assert scores == {f"prior_corrected_validation_{name}": pytest.approx(value) for name, value in wanted.items()}
