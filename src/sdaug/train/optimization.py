"""Optimizers and learning-rate schedules of classifiers."""

import math

import torch
from torch import nn

from sdaug.train.params import Recipe

STEP_FRACTIONS, STEP_FACTOR = (0.5, 0.75), 0.1  # schedule `step`: times 0.1 at 1/2 and at 3/4 of all steps


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW, all fused, over the trainable weights."""
    groups = parameter_groups(model, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate, fused=True)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Parameter groups with their weight decay and learning rate.

    Biases, norm weights and what a timm model exempts (tokens, position embeddings) have no weight decay. With
    `layer_decay`, the learning rate of each layer is that factor times the rate of the layer after it (Clark et al.,
    arXiv 2003.10555), in timm's layer order.
    """
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    if recipe.layer_decay < 1:
        groups = param_groups_layer_decay(
            model, weight_decay=recipe.weight_decay, layer_decay=recipe.layer_decay, verbose=False
        )
        scales = [group.pop("lr_scale") for group in groups]
        return [{**group, "lr": recipe.learning_rate * scale} for group, scale in zip(groups, scales, strict=True)]
    spared = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # type: ignore[operator]
    found: list[dict[str, object]] = param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=spared)
    return found


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, *, num_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning-rate schedule over `num_steps` steps."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, recipe, num_steps))


def learning_rate_factor(step: int, recipe: Recipe, num_steps: int) -> float:
    """The learning-rate factor at a step, counted from 0: linear warm-up, then the schedule."""
    if step < recipe.warmup_steps:
        return (step + 1) / (recipe.warmup_steps + 1)
    done = (step - recipe.warmup_steps) / max(1, num_steps - recipe.warmup_steps)
    if recipe.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    if recipe.schedule == "step":
        return float(STEP_FACTOR ** sum(done >= fraction for fraction in STEP_FRACTIONS))
    return 1.0
