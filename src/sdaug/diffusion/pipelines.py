"""Loading and saving Stable Diffusion in the diffusers layout: safetensors only, no code from strangers."""

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

LAYOUT = ("model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler")


def load_pipeline(folder: Path, device: torch.device) -> StableDiffusionPipeline:
    """A pipeline from a folder, its noise schedule ready for training, every part in evaluation mode."""
    absent = [name for name in LAYOUT if not (folder / name).exists()]
    if absent:
        raise FileNotFoundError(f"{folder}: no {', '.join(absent)}; need a Stable Diffusion in the diffusers layout")
    _hush()
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, requires_safety_checker=False, use_safetensors=True, local_files_only=True
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    return pipeline.to(device)


def download_pipeline(model: str, revision: str | None) -> StableDiffusionPipeline:
    """A pipeline by hub id and revision, or from a local folder in the diffusers layout."""
    if Path(model).is_dir():
        return load_pipeline(Path(model), torch.device("cpu"))
    try:
        return StableDiffusionPipeline.from_pretrained(
            model, revision=revision, safety_checker=None, requires_safety_checker=False, use_safetensors=True
        )
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"params.yaml: base.model: {model!r}; neither a folder here nor to be had from the hub ({reason[:200]}); "
            "check id, revision and network, accept the licence on the hub, or set base.model: tiny"
        ) from error


def save_pipeline(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Save in the diffusers layout, in the same bytes wherever and whenever it is saved."""
    _hush()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.rglob("*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config, dict) and config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _hush() -> None:
    """No progress bars for files that load in a blink."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
