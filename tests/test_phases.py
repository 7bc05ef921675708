"""Ways to use synthetic images: weights, shares of batches, pretraining and softened photos."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from arms import arm_training
from test_training import HELD_OUT, IMAGES, LABELS, SMALL, is_same, train

from sdaug.train import loop
from sdaug.train.examples import NOT_RECONSTRUCTED, TrainingSet
from sdaug.train.params import ArmTraining, Recipe
from sdaug.train.phases import Phase, image_importance, plan_phases
from sdaug.train.probe import RECIPE

N = len(LABELS)
IS_SYNTHETIC = np.arange(N) >= 8
BOTH = TrainingSet(
    images=IMAGES,
    labels=LABELS,
    is_synthetic=IS_SYNTHETIC,
    reconstructed=255 - IMAGES[:8],
    reconstructed_rows=np.where(IS_SYNTHETIC, NOT_RECONSTRUCTED, np.arange(N)),
)
EVERY_WAY = [
    arm_training(synthetic_weight=0.25, mixup_alpha=0.4, class_weights="inverse_frequency"),
    arm_training(synthetic_share=0.3, synthetic_weight=0.5, loss="focal"),
    arm_training(pretrain_steps=5, class_weights="effective_number"),
    arm_training(soften=0.5),
]


def recipe(**knobs: Any) -> Recipe:
    return Recipe(**{**vars(RECIPE), **SMALL, **knobs})


@pytest.mark.parametrize("arm", EVERY_WAY)
def test_every_way_is_reproducible_and_changes_the_weights(arm: ArmTraining) -> None:
    torch.manual_seed(5)
    first, plain = train(data=BOTH, arm=arm, epochs=2), train(data=BOTH, epochs=2)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert is_same(first, train(data=BOTH, arm=arm, epochs=2)) and not is_same(first, plain)


def test_an_arm_that_uses_no_way_does_not_look_at_origins() -> None:
    assert is_same(train(data=BOTH), train())


def watch_losses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """The targets and weights that the loss of each step gets."""
    seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []

    def watching(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        seen.append((targets, weights))
        return F.cross_entropy(logits, targets)

    monkeypatch.setattr(loop, "build_loss", lambda *_: watching)
    return seen


def test_synthetic_images_weigh_what_the_arm_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_losses(monkeypatch)
    train(data=BOTH, arm=arm_training(synthetic_weight=0.25), epochs=1, batch_size=N)
    ((_, weights),) = seen
    assert weights is not None and sorted(weights.tolist()) == [0.25] * 5 + [1.0] * 8


@pytest.mark.parametrize("knob", ["mixup_alpha", "cutmix_alpha"])
def test_a_mixed_image_weighs_as_much_of_each_as_it_shows(knob: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Classes that go with the origin: the mixed label then says how synthetic an image is.
    data = replace(BOTH, labels=IS_SYNTHETIC.astype(np.int64))
    seen = watch_losses(monkeypatch)
    train(data=data, arm=arm_training(synthetic_weight=0.25, **{knob: 1.0}), epochs=2)
    assert any(0.01 < share < 0.99 for targets, _ in seen for share in targets[:, 1].tolist())
    for targets, weights in seen:
        assert weights is not None
        torch.testing.assert_close(weights, targets[:, 0] + 0.25 * targets[:, 1])


def test_exposure_is_views_times_weights_of_image_and_class() -> None:
    arm = arm_training(synthetic_weight=0.25, class_weights=[1.0, 2.0, 3.0])
    result = train(data=BOTH, arm=arm, epochs=3)
    assert result.exposure == pytest.approx(3 * np.where(IS_SYNTHETIC, 0.25, 1.0) * np.array([1.0, 2.0, 3.0])[LABELS])


def test_computed_class_weights_make_classes_count_the_same_with_weights_of_images() -> None:
    arm = arm_training(synthetic_weight=0.25, class_weights="inverse_frequency")
    counted = np.bincount(LABELS, weights=train(data=BOTH, arm=arm, epochs=2).exposure)
    assert counted == pytest.approx(np.full(3, counted.mean()))


def test_importance_with_a_share_is_the_mean_number_of_views() -> None:
    arm = arm_training(synthetic_share=0.5, synthetic_weight=0.5)
    found = image_importance(BOTH, Phase(rows=np.arange(N), arm=arm, recipe=recipe()))
    views = train(data=BOTH, arm=arm, epochs=40).num_views / 40
    assert found is not None
    assert views[~IS_SYNTHETIC] == pytest.approx(found[~IS_SYNTHETIC])
    assert views[IS_SYNTHETIC].mean() == pytest.approx(2 * found[IS_SYNTHETIC].mean())


def test_pretraining_shows_balanced_synthetic_images_and_then_the_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: list[list[int]] = []
    read = loop.BatchReader.read

    def watching(self: Any, chosen: torch.Tensor, is_soft: torch.Tensor | None = None) -> Any:
        met.append(chosen.tolist())
        return read(self, chosen, is_soft)

    monkeypatch.setattr(loop.BatchReader, "read", watching)
    result = train(data=BOTH, arm=arm_training(pretrain_steps=6), epochs=3)
    first, second = [row for batch in met[:6] for row in batch], [row for batch in met[6:] for row in batch]
    assert IS_SYNTHETIC[first].all() and sorted(second) == sorted(3 * list(range(8)))
    # Three epochs of two batches; labels of the synthetic images are 2, 0, 1, 2, 0.
    assert np.bincount(LABELS[first]).tolist() == [6, 6, 6]
    assert result.num_views.tolist() == np.bincount([*first, *second], minlength=N).tolist()


def test_pretraining_is_in_no_history_and_validates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    predict = loop.predict

    def watching(*args: Any, **knobs: Any) -> Any:
        calls.append(len(args[1]))
        return predict(*args, **knobs)

    monkeypatch.setattr(loop, "predict", watching)
    result = train(data=BOTH, arm=arm_training(pretrain_steps=9), epochs=3)
    assert [row["epoch"] for row in result.history] == [1, 2, 3] and calls == [len(HELD_OUT[0])] * 3
    assert (result.exposure > 0).tolist() == (~IS_SYNTHETIC).tolist()


def test_the_phase_after_pretraining_is_the_usual_training() -> None:
    """Its images, settings and random streams are those of an arm that has the photos alone."""
    photos = replace(
        BOTH,
        images=IMAGES[:8],
        labels=LABELS[:8],
        is_synthetic=IS_SYNTHETIC[:8],
        reconstructed_rows=BOTH.reconstructed_rows[:8],
    )
    *_, last = plan_phases(BOTH, recipe(), arm_training(pretrain_steps=2, soften=0.5), title="small")
    (alone,) = plan_phases(photos, recipe(), arm_training(soften=0.5), title="small")
    assert last.rows.tolist() == alone.rows.tolist() and (last.arm, last.recipe) == (alone.arm, alone.recipe)
    assert [last.seed(3, purpose) for purpose in "ab"] == [alone.seed(3, purpose) for purpose in "ab"]


def test_pretraining_has_a_cosine_schedule_of_its_own() -> None:
    first, last = plan_phases(
        BOTH, recipe(schedule="constant", warmup_steps=7), arm_training(pretrain_steps=5), title="small"
    )
    assert (first.recipe.schedule, first.recipe.steps, first.recipe.warmup_steps) == ("cosine", 5, 4)
    assert (last.recipe.schedule, last.recipe.warmup_steps) == ("constant", 7)
    assert first.seed(0, "order") != last.seed(0, "order")


def test_photos_that_are_always_soft_are_their_reconstructions() -> None:
    as_reconstructed = np.where(IS_SYNTHETIC[:, None, None, None], IMAGES, 255 - IMAGES)
    soft = train(data=BOTH, arm=arm_training(soften=1.0), epochs=2)
    assert is_same(soft, train(data=replace(BOTH, images=as_reconstructed), epochs=2))


def test_reconstructed_photos_are_no_images_of_their_own() -> None:
    soft, plain = (train(data=BOTH, arm=arm_training(soften=p), epochs=2) for p in (0.5, 0.0))
    assert np.array_equal(soft.num_views, plain.num_views) and np.array_equal(soft.exposure, plain.exposure)


@pytest.mark.parametrize(
    ("data", "arm", "message"),
    [
        (replace(BOTH, is_synthetic=IS_SYNTHETIC & False), {"synthetic_share": 0.5}, r"needs a synthetic image"),
        (replace(BOTH, is_synthetic=IS_SYNTHETIC & False), {"pretrain_steps": 5}, r"needs a synthetic image"),
        (replace(BOTH, is_synthetic=IS_SYNTHETIC | True), {"pretrain_steps": 5}, r"images.real: small: .* real image"),
        (
            replace(BOTH, reconstructed=IMAGES[:0]),
            {"soften": 0.5},
            r"images.reconstructed: small: training needs a reconstr",
        ),
    ],
)
def test_images_that_are_not_there_are_named(data: TrainingSet, arm: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(data=data, arm=arm_training(**arm))


def test_batch_larger_than_the_synthetic_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size: 6 \(small\); there are 5 synthetic images; lower batch_size"):
        train(data=BOTH, arm=arm_training(pretrain_steps=5), batch_size=6)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"synthetic_weight": 0.0}, "synthetic_weight: 0.0; need more than 0, at most 1"),
        ({"synthetic_weight": 1.5}, "synthetic_weight: 1.5; need more than 0, at most 1"),
        ({"synthetic_share": 0.0}, "synthetic_share: 0.0; need more than 0 and less than 1"),
        ({"synthetic_share": 1.0}, "synthetic_share: 1.0; need more than 0 and less than 1"),
        ({"synthetic_share": 0.5, "sampler": "balanced"}, "synthetic_share: 0.5; the sampler is balanced"),
        ({"pretrain_steps": -1}, "pretrain_steps: -1; need 0"),
        ({"pretrain_steps": 5, "synthetic_share": 0.5}, "pretrain_steps: 5; no batch has photos and synthetic"),
        ({"pretrain_steps": 5, "synthetic_weight": 0.5}, "pretrain_steps: 5; no batch has photos and synthetic"),
        ({"soften": 1.1}, "soften: 1.1; need 0 to 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arm_training(**knobs)
