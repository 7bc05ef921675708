"""Building, saving and loading classifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sdaug.classify.custom import CustomNetwork
from sdaug.classify.matrix_conv import use_matrix_products
from sdaug.classify.recipe import CUSTOM, Recipe
from sdaug.files import read_json, write_json

WEIGHTS, CARD = "model.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that is needed, beside the weights, to use a trained classifier; mean and std are of pixels in [0, 1]."""

    architecture: str
    options: dict[str, Any]
    classes: list[str]
    image_size: int
    mean: list[float]
    std: list[float]


def build_model(recipe: Recipe, classes: Sequence[str]) -> tuple[nn.Module, ModelCard]:
    """An untrained (or pretrained) model with one output a class, and its card."""
    try:
        model = create_network(recipe.architecture, len(classes), recipe.options, pretrained=recipe.pretrained)
    except (RuntimeError, TypeError, OSError) as error:
        raise ValueError(
            f"params.yaml: classifiers: architecture {recipe.architecture!r} with options {recipe.options} and "
            f"pretrained: {recipe.pretrained} cannot be built ({' '.join(str(error).split())[:200]}); "
            "see timm.list_models(), or set pretrained: false"
        ) from error
    normal = getattr(model, "pretrained_cfg", {}) if recipe.pretrained else {}
    card = ModelCard(
        architecture=recipe.architecture,
        options=recipe.options,
        classes=list(classes),
        image_size=recipe.image_size,
        mean=list(normal.get("mean", (0.5, 0.5, 0.5))),
        std=list(normal.get("std", (0.25, 0.25, 0.25))),
    )
    return model, card


def create_network(
    architecture: str, num_classes: int, options: Mapping[str, Any], *, pretrained: bool = False
) -> nn.Module:
    """The custom network, or any of timm's by name."""
    model: nn.Module
    if architecture == CUSTOM:
        model = CustomNetwork(num_classes, **options)
    else:
        import timm  # seconds, which the custom network need not wait for

        model = timm.create_model(architecture, pretrained=pretrained, num_classes=num_classes, **options)
    use_matrix_products(model)
    return model


def save_model(folder: Path, weights: Mapping[str, torch.Tensor], card: ModelCard) -> None:
    """Weights as safetensors with one metadata key, so that the bytes are the same each time."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CARD, asdict(card))


def load_model(folder: Path, device: torch.device) -> tuple[nn.Module, ModelCard]:
    """A trained classifier in evaluation mode."""
    card = ModelCard(**read_json(folder / CARD))
    model = create_network(card.architecture, len(card.classes), card.options)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(device).to(memory_format=torch.channels_last).eval(), card
