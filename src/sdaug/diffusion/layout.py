"""Checking the diffusers layout of a Stable Diffusion folder, with weights as safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAYOUT = ("model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler")
SCHEDULER = "scheduler/scheduler_config.json"
CONFIGS = ("unet/config.json", "vae/config.json", "text_encoder/config.json", SCHEDULER)
WEIGHTED = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
SUPPORTED = "supported: Stable Diffusion 1.x and 2.x (StableDiffusionPipeline)"
PNDM_RULE = (
    "the base's noise ends in pure noise (rescale_betas_zero_snr), which pndm does not know; "
    "use dpm_solver, unipc, ddim or euler"
)


def check_layout(folder: Path, *, where: str, variant: str | None = None) -> None:
    """Check that a folder holds Stable Diffusion in the diffusers layout, with weights as safetensors.

    Raises:
        ValueError: a part is missing or damaged, or the weights are pickled or of another variant.
    """
    # All parts and their configs are there.
    absent = [name for name in LAYOUT if not (folder / name).exists()]
    absent = absent or [name for name in CONFIGS if not (folder / name).is_file()]
    if absent:
        raise ValueError(f"{where}: no {', '.join(absent)}; need a Stable Diffusion in the diffusers layout")
    # The index can be read and names a supported class.
    try:
        index = json.loads((folder / LAYOUT[0]).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where}: {LAYOUT[0]} is damaged ({error}); copy the folder again") from error
    check_pipeline_class(index, where=where)
    # Each part has safetensors weights, of the variant or of none.
    for part, stem in WEIGHTED.items():
        names = [file.name for file in (folder / part).glob("*.safetensors*")]
        kinds = [variant, None] if variant else [None]
        if any(_is_variant(name, stem, kind) for name in names for kind in kinds):
            continue
        if any(name.endswith(".safetensors") for name in names):
            rule = f"no weights{f' of variant {variant!r}' if variant else ''}, but {', '.join(sorted(names))}"
            raise ValueError(f"{where}: {part} has {rule}; set base.variant to the part before .safetensors")
        raise ValueError(
            f"{where}: {part} has no .safetensors weights (pickled ones are not read: they can run arbitrary "
            "code); save it again with `save_pretrained(..., safe_serialization=True)`"
        )


def _is_variant(name: str, stem: str, variant: str | None) -> bool:
    """Whether a file holds the weights of a variant (None: no variant), or is the index of their shards."""
    infix = f".{variant}" if variant else ""
    return name in (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")


def check_pipeline_class(index: Mapping[str, Any], *, where: str) -> None:
    """Check that model_index.json names a pipeline class that the study can train.

    Raises:
        ValueError: it names another class.
    """
    name = index.get("_class_name")
    if name != "StableDiffusionPipeline":
        raise ValueError(f"{where}: is a {name}; {SUPPORTED}")


def has_zero_terminal_snr(scheduler: Mapping[str, Any]) -> bool:
    """Whether the config of a scheduler says that the last timestep is pure noise (arXiv 2305.08891)."""
    return bool(scheduler.get("rescale_betas_zero_snr"))


def read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's config in a folder in the diffusers layout.

    Raises:
        ValueError: it is not JSON.
    """
    path = folder / SCHEDULER
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); copy the folder again") from error
    return config
