"""Inception-v3's auxiliary head, which learns along in training and is not kept (Szegedy et al., arXiv 1512.00567)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

OPTION, OVERLAY = "aux_logits", "pretrained_cfg_overlay"  # of timm.create_model
MODULE = "AuxLogits"


def answer_once_in_evaluation(model: nn.Module) -> None:
    """Let a model with the head give its answer beside the other one in training alone; timm's gives both always."""
    if getattr(model, MODULE, None) is not None:
        model.register_forward_hook(lambda model, _, both: both if model.training else both[0])


def untaken_heads(options: Mapping[str, Any]) -> dict[str, Any]:
    """What timm has to be told of pretrained weights: both heads know other classes, not the last one alone."""
    if not options.get(OPTION):
        return {}
    return {OVERLAY: {"classifier": ("fc", f"{MODULE}.fc")} | options.get(OVERLAY, {})}


def options_without(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model that has been trained with the head and is used without."""
    return {name: value for name, value in options.items() if name != OPTION}


def weights_without(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All weights but the head's."""
    return {name: weight for name, weight in weights.items() if not name.startswith(f"{MODULE}.")}
