"""Inception-v3's auxiliary head, which learns along in training at any image size, and is not kept."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

OPTION, OVERLAY = "aux_logits", "pretrained_cfg_overlay"  # of timm.create_model
MODULE = "AuxLogits"
SIDE = 17  # places a side of the map that the head gets of an image of 299 pixels (arXiv 1512.00567, table 1)


def make_room(model: nn.Module) -> None:
    """Let the head, where there is one, look at smaller maps as if they had the size that it was made for.

    Its answer comes with the other in training alone; timm's model gives both in evaluation, too.
    """
    head = getattr(model, MODULE, None)
    if head is not None:
        head.register_forward_pre_hook(_enlarge)
        model.register_forward_hook(_answer)


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


def _enlarge(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """`(B, C, h, w)` -> `(B, C, 17, 17)` where it is smaller: each place as many times as it takes."""
    (x,) = inputs
    return inputs if min(x.shape[-2:]) >= SIDE else (F.interpolate(x, size=(SIDE, SIDE), mode="nearest"),)


def _answer(model: nn.Module, _: Any, both: tuple[torch.Tensor, torch.Tensor]) -> Any:
    return both if model.training else both[0]
