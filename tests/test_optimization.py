from dataclasses import replace

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import nn

from sdaug.classify.models import build_model
from sdaug.train.optimization import build_optimizer, build_schedule, learning_rate_factor, parameter_groups
from sdaug.train.probe import RECIPE


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_schedule_is_what_the_optimizer_gets(schedule: str, warmup_steps: int) -> None:
    recipe = replace(RECIPE, schedule=schedule, warmup_steps=warmup_steps)
    optimizer = build_optimizer(nn.Linear(2, 2), recipe)
    steps = build_schedule(optimizer, recipe, num_steps=12)
    for step in range(12):
        wanted = recipe.learning_rate * learning_rate_factor(step, recipe, 12)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted)
        optimizer.step()
        steps.step()


def test_cosine_is_that_of_timm() -> None:
    recipe = replace(RECIPE, schedule="cosine", learning_rate=0.1)
    reference = CosineLRScheduler(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), t_initial=20)
    for step in range(20):
        assert 0.1 * learning_rate_factor(step, recipe, 20) == pytest.approx(reference._get_lr(step)[0])


def test_step_falls_at_half_and_at_three_quarters() -> None:
    recipe = replace(RECIPE, schedule="step")
    factors = [learning_rate_factor(step, recipe, 8) for step in range(8)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warmup_rises_to_the_whole_rate() -> None:
    recipe = replace(RECIPE, schedule="constant", warmup_steps=3)
    assert [learning_rate_factor(step, recipe, 9) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_norms_and_biases_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    decays = {
        id(weight): group["weight_decay"]
        for group in parameter_groups(model, replace(RECIPE, weight_decay=0.1))
        for weight in group["params"]  # type: ignore[attr-defined]
    }
    assert [decays[id(weight)] for weight in model.parameters()] == [0.1, 0.0, 0.0, 0.0]


def test_positions_and_tokens_do_not_decay() -> None:
    options = {"img_size": 32, "patch_size": 16, "depth": 1, "embed_dim": 24, "num_heads": 2}
    recipe = replace(RECIPE, architecture="vit_tiny_patch16_224", options=options, weight_decay=0.1)
    model, _ = build_model(recipe, ["a", "b"], prepared_pixels=32)
    groups = build_optimizer(model, recipe).param_groups
    decaying = {id(weight) for group in groups if group["weight_decay"] for weight in group["params"]}
    found = {name for name, weight in model.named_parameters() if id(weight) in decaying}
    assert "patch_embed.proj.weight" in found and not found & {"pos_embed", "cls_token"}


def test_layer_decay_slows_the_first_layers_of_a_transformer() -> None:
    options = {"img_size": 32, "patch_size": 16, "depth": 3, "embed_dim": 24, "num_heads": 2}
    recipe = replace(RECIPE, architecture="vit_tiny_patch16_224", options=options, layer_decay=0.5, learning_rate=1.0)
    model, _ = build_model(recipe, ["a", "b"], prepared_pixels=32)
    rates = {
        id(weight): group["lr"] for group in build_optimizer(model, recipe).param_groups for weight in group["params"]
    }
    by_name = {name: rates[id(weight)] for name, weight in model.named_parameters()}
    assert by_name["head.weight"] == 1.0
    assert [by_name[f"blocks.{k}.mlp.fc1.weight"] for k in range(3)] == pytest.approx([0.125, 0.25, 0.5])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_named_optimizer_is_built(optimizer: str) -> None:
    built = build_optimizer(nn.Linear(2, 2), replace(RECIPE, optimizer=optimizer))
    assert type(built).__name__.lower() == optimizer
