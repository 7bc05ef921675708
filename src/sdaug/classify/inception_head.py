"""Inception-v3's auxiliary head, used in training only and not saved (Szegedy et al., arXiv 1512.00567)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

OPTION, OVERLAY = "aux_logits", "pretrained_cfg_overlay"  # arguments of timm.create_model
MODULE = "AuxLogits"


def answer_once_in_evaluation(model: nn.Module) -> None:
    """Make a model with the head return auxiliary logits in training only; timm's model always returns both."""
    if getattr(model, MODULE, None) is not None:
        model.register_forward_hook(lambda model, _, both: both if model.training else both[0])


def untaken_heads(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that make timm drop the pretrained weights of both heads, not only those of the last layer."""
    if not options.get(OPTION):
        return {}
    return {OVERLAY: {"classifier": ("fc", f"{MODULE}.fc")} | options.get(OVERLAY, {})}


def options_without(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for rebuilding, without the head, a model that was trained with it."""
    return {name: value for name, value in options.items() if name != OPTION}


def weights_without(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights except the head's."""
    return {name: weight for name, weight in weights.items() if not name.startswith(f"{MODULE}.")}
