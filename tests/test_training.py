"""Training: every image counted, the best epoch kept, the same weights from the same seed."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sdaug.classify.inference import predict
from sdaug.classify.probe import RECIPE
from sdaug.classify.recipe import Recipe
from sdaug.classify.scores import score
from sdaug.classify.training import (
    Loss,
    Trained,
    build_optimizer,
    build_schedule,
    combined_loss,
    epoch_batches,
    rank,
    train_classifier,
)

STREAM = np.random.default_rng(0)
LABELS = np.arange(13) % 3
IMAGES = STREAM.integers(0, 256, (13, 16, 16, 3), dtype=np.uint8)
HELD_OUT = STREAM.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8), np.arange(9) % 3
SMALL = {"options": {}, "image_size": 16, "batch_size": 4, "epochs": 4}


def train(
    *, seed: int = 0, selection: str = "balanced_accuracy", loss: Loss = F.cross_entropy, **knobs: Any
) -> Trained:
    return train_classifier(
        (IMAGES, LABELS),
        HELD_OUT,
        ["a", "b", "c"],
        recipe=Recipe(**{**vars(RECIPE), **SMALL, **knobs}),
        loss=loss,
        selection=selection,
        seed=seed,
        device=torch.device("cpu"),
        title="small",
    )


def is_same(first: Trained, second: Trained) -> bool:
    return all(torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items())


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


def test_same_seed_gives_the_same_weights_bit_for_bit(trained: Trained) -> None:
    torch.manual_seed(99)
    np.random.seed(99)
    assert is_same(trained, train())


def test_another_seed_gives_other_weights(trained: Trained) -> None:
    assert not is_same(trained, train(seed=1, epochs=1))


def test_training_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(5)
    train(epochs=1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize("num_images", range(2, 12))
@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_every_image_is_in_an_epoch_once(num_images: int, batch_size: int) -> None:
    batches = epoch_batches(num_images, batch_size, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(num_images))


def test_last_batch_of_one_joins_the_one_before() -> None:
    assert [len(batch) for batch in epoch_batches(13, 4, torch.Generator())] == [4, 4, 5]


def test_last_batch_of_two_stays() -> None:
    assert [len(batch) for batch in epoch_batches(10, 4, torch.Generator())] == [4, 4, 2]


def test_two_epochs_have_different_orders() -> None:
    order = torch.Generator().manual_seed(0)
    first, second = (torch.cat(epoch_batches(13, 4, order)) for _ in range(2))
    assert not torch.equal(first, second)


def test_loss_meets_every_label_in_every_epoch() -> None:
    met: list[int] = []

    def watching(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        met.extend(targets.tolist())
        return F.cross_entropy(logits, targets)

    train(loss=watching, epochs=2)
    assert sorted(met) == sorted([*LABELS.tolist(), *LABELS.tolist()])


@pytest.mark.parametrize(
    ("selection", "column", "sign"),
    [
        ("balanced_accuracy", "validation_balanced_accuracy", 1),
        ("accuracy", "validation_accuracy", 1),
        ("loss", "validation_loss", -1),
    ],
)
def test_best_epoch_is_the_best_of_the_history(selection: str, column: str, sign: int) -> None:
    result = train(selection=selection)
    best = max(result.history, key=lambda row: (sign * row[column], -row["validation_loss"]))
    assert result.best_epoch == best["epoch"]


def test_tie_goes_to_the_lower_loss() -> None:
    scores = {"accuracy": 0.5, "loss": 1.0}
    assert rank({**scores, "loss": 0.9}, "accuracy") > rank(scores, "accuracy")


def test_history_has_every_epoch(trained: Trained) -> None:
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4]


def test_kept_scores_are_those_of_the_best_epoch(trained: Trained) -> None:
    row = trained.history[trained.best_epoch - 1]
    assert trained.best == {name: row[f"validation_{name}"] for name in trained.best}


def test_kept_weights_give_the_kept_scores(trained: Trained) -> None:
    assert score(predict(trained.build(), HELD_OUT[0], trained.card), HELD_OUT[1]) == pytest.approx(trained.best)


def test_loss_that_is_nan_stops_and_names_the_epoch() -> None:
    calls = 0

    def exploding(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return F.cross_entropy(logits, targets) * (float("nan") if calls > 3 else 1.0)

    with pytest.raises(ValueError, match=r"^small: epoch 2: the loss is nan; lower the learning rate"):
        train(loss=exploding)


def test_weights_that_explode_in_the_last_step_name_the_epoch() -> None:
    def exploding(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, targets) * 1.0e38

    with pytest.raises(ValueError, match=r"^small: epoch 1: .*lower the learning rate"):
        train(loss=exploding, optimizer="sgd", learning_rate=10.0, batch_size=13)


def test_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size: 14; there are 13 training images"):
        train(batch_size=14)


def test_batch_of_all_the_data_trains() -> None:
    assert train(batch_size=13, epochs=1).best_epoch == 1


def test_cosine_ends_at_zero() -> None:
    recipe = Recipe(**{**vars(RECIPE), **SMALL})
    optimizer = build_optimizer(torch.nn.Linear(2, 2), recipe)
    schedule = build_schedule(optimizer, recipe, num_batches=3)
    for _ in range(recipe.epochs * 3):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == [pytest.approx(0.0, abs=1e-12)]


def test_auxiliary_head_weighs_0_4() -> None:
    logits, targets = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    both = combined_loss((logits, -logits), targets, F.cross_entropy)
    torch.testing.assert_close(both, F.cross_entropy(logits, targets) + 0.4 * F.cross_entropy(-logits, targets))
