"""Building, saving and loading classifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from sdaug.classify.custom import CustomNetwork
from sdaug.classify.inception_head import answer_once_in_evaluation, options_without, untaken_heads
from sdaug.classify.params import CUSTOM, ModelRecipe
from sdaug.classify.vgg_head import spread_small_maps
from sdaug.common.files import read_json, write_json
from sdaug.common.params import Method, Square
from sdaug.common.sections import Checked, convert

WEIGHTS, CARD = "model.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True)
class ModelCard(Checked):
    """What is needed besides the weights to use a trained classifier; `mean` and `std` apply to pixels in [0, 1].

    `pretrained` is the hub id and commit of the initial weights. `prepared_pixels`, `square` and
    `sixteen_bit_maximum` say how photos were prepared before they were resized to `image_size`. With the `method` sctl
    the classifier learned from test photos, too; the file of a plain one does not have it.
    """

    architecture: str
    options: dict[str, Any]
    classes: list[str]
    image_size: int
    mean: list[float]
    std: list[float]
    pretrained: str | None
    prepared_pixels: int
    square: Square
    sixteen_bit_maximum: int | None = None  # older cards lack it
    method: Method = "plain"


def build_model(
    recipe: ModelRecipe,
    classes: Sequence[str],
    *,
    prepared_pixels: int,
    square: Square = "crop",
    sixteen_bit_maximum: int | None = None,
) -> tuple[nn.Module, ModelCard]:
    """An untrained or pretrained model with one output per class, and its card.

    Raises:
        ValueError: the model cannot be built, or its pretrained weights cannot be loaded.
    """
    # Network. Rates of 0 are left out, because not every model takes these arguments.
    options = recipe.options | {
        key: value for key, value in (("drop_rate", recipe.dropout), ("drop_path_rate", recipe.drop_path)) if value
    }
    try:
        model = create_network(
            recipe.architecture, len(classes), options, pretrained=recipe.pretrained, revision=recipe.revision
        )
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"params.yaml: classifiers: architecture {recipe.architecture!r} with options {options} and "
            f"pretrained: {recipe.pretrained} cannot be built ({' '.join(str(error).split())[:200]}); "
            "see timm.list_models(), or set pretrained: false"
        ) from error
    if recipe.freeze_backbone:
        model.requires_grad_(False)
        head_of(model).requires_grad_(True)
    # Card. Pretrained weights expect their own normalisation; the other one maps [0, 1] to [-2, 2].
    normal = getattr(model, "pretrained_cfg", {}) if recipe.pretrained else {}
    card = ModelCard(
        architecture=recipe.architecture,
        options=options_without(recipe.options),  # no dropout or stochastic depth, which act in training only
        classes=list(classes),
        image_size=recipe.image_size,
        mean=list(normal.get("mean", (0.5, 0.5, 0.5))),
        std=list(normal.get("std", (0.25, 0.25, 0.25))),
        pretrained=find_origin(normal) if recipe.pretrained else None,
        prepared_pixels=prepared_pixels,
        square=square,
        sixteen_bit_maximum=sixteen_bit_maximum,
    )
    return model, card


def check_model(recipe: ModelRecipe, classes: Sequence[str]) -> int:
    """Check that a model can be built and accepts images of its recipe's size; returns the bytes of its weights.

    As a side effect, pretrained weights are downloaded to the hub cache.

    Raises:
        ValueError: unknown architecture or option, missing weights, unreachable hub, or unsupported image size.
    """
    size = recipe.image_size
    # On `meta`, shapes are checked without any memory for weights.
    with torch.device("cpu" if recipe.pretrained else "meta"), torch.no_grad():
        model, _ = build_model(recipe, classes, prepared_pixels=size)
        try:
            model.eval()(torch.zeros(1, 3, size, size))
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"params.yaml: classifiers: image_size: {size}; {recipe.architecture} with options "
                f"{recipe.options} does not accept it ({' '.join(str(error).split())[:200]}); give "
                "another, or options such as img_size"
            ) from error
    return sum(weights.nbytes for weights in model.state_dict().values())


def create_network(
    architecture: str,
    num_classes: int,
    options: Mapping[str, Any],
    *,
    pretrained: bool = False,
    revision: str | None = None,
) -> nn.Module:
    """The custom network, or a timm model by name; `revision` is that of its pretrained weights on the hub.

    Raises:
        ValueError: `architecture` has a source prefix, such as `hf-hub:`.
    """
    model: nn.Module
    if architecture == CUSTOM:
        model = CustomNetwork(num_classes, **options)
    else:
        import timm  # takes seconds, and the custom network does not need it

        if ":" in architecture:  # a trained model could be loaded only where that source can be reached
            raise ValueError("a name with a source is not taken, need one of timm.list_models()")
        if pretrained:
            options = {**options, **untaken_heads(options), **_pinned(architecture, options, revision)}
        model = timm.create_model(architecture, pretrained=pretrained, num_classes=num_classes, **options)
        answer_once_in_evaluation(model)
        spread_small_maps(model)
    return model


def _pinned(architecture: str, options: Mapping[str, Any], revision: str | None) -> dict[str, Any]:
    """The option of `timm.create_model` that takes weights of one revision; empty without one."""
    if revision is None:
        return {}
    import timm

    known = timm.get_pretrained_cfg(architecture)
    overlay = options.get("pretrained_cfg_overlay", {})
    hub_id = overlay.get("hf_hub_id") or (known and known.hf_hub_id)
    if not hub_id:
        raise ValueError(f"revision {revision!r}: timm has no weights of {architecture} on the hub; leave it out")
    return {"pretrained_cfg_overlay": {**overlay, "hf_hub_id": f"{hub_id}@{revision}"}}


def head_of(model: nn.Module) -> nn.Module:
    """The classification layer."""
    head: nn.Module = model.get_classifier()  # type: ignore[operator]
    return head


def find_origin(pretrained_cfg: Mapping[str, Any]) -> str:
    """The hub id of timm's weights and the commit in the local hub cache: `timm/...@0123abc`."""
    from huggingface_hub import try_to_load_from_cache

    hub_id, _, revision = str(pretrained_cfg.get("hf_hub_id")).partition("@")
    cached = try_to_load_from_cache(hub_id, "model.safetensors", revision=revision or None)
    # The hub cache keeps a file at `snapshots/<commit>/<file>`.
    return f"{hub_id}@{Path(cached).parent.name}" if isinstance(cached, str) else hub_id


def save_model(folder: Path, weights: Mapping[str, torch.Tensor], card: ModelCard) -> None:
    """Write weights and card to `folder`; a single safetensors metadata key keeps the bytes reproducible."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(
        folder / CARD, {key: value for key, value in asdict(card).items() if (key, value) != ("method", "plain")}
    )


def load_model(folder: Path, device: torch.device) -> tuple[nn.Module, ModelCard]:
    """A trained classifier in evaluation mode, and its card.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or the weights do not match the card.
    """
    for path in (folder / CARD, folder / WEIGHTS):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; give a folder written by stage train")
    card = convert(read_json(folder / CARD), ModelCard, f"{folder / CARD}:")
    try:
        model = create_network(card.architecture, len(card.classes), card.options)
        model.load_state_dict(load_file(folder / WEIGHTS))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, SafetensorError) as error:
        # torch lists every missing weight, over many lines.
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder}: {CARD} and {WEIGHTS} do not match ({reason}); run `dvc repro train`") from error
    return model.to(device).to(memory_format=torch.channels_last).eval(), card
