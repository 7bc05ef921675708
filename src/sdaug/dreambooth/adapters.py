"""Selecting and saving the weights that DreamBooth trains: full models or LoRA, with or without text encoders."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from sdaug.diffusion.exchange import kohya_metadata, kohya_names, original_text_names, sort_metadata
from sdaug.diffusion.generators import KOHYA_WEIGHTS, LORA_WEIGHTS
from sdaug.diffusion.pipelines import save_part
from sdaug.diffusion.versions import Pipeline, is_xl, networks, text_encoders, text_parts
from sdaug.dreambooth.params import DreamBoothParams

TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


def adapt(pipeline: Pipeline, params: DreamBoothParams, dtype: torch.dtype, *, seed: int) -> list[nn.Parameter]:
    """Prepare the pipeline for training in place; returns the trainable weights, in float32, all others being frozen.

    With LoRA (Hu et al., arXiv 2106.09685) the UNet's frozen weights are cast to `dtype`; 16 bits halve their memory.
    """
    # Freeze everything, then free the adapters or the chosen parts.
    encoders = text_encoders(pipeline) if params.train_text_encoder else []
    parts = [pipeline.unet, *encoders]
    for part in networks(pipeline):
        part.requires_grad_(False)
    if params.method == "lora":
        # Casting to the same dtype would print a warning.
        if pipeline.unet.dtype != dtype:
            pipeline.unet.to(dtype)
        _add_adapters(pipeline, params, seed)
    else:
        for part in parts:
            part.requires_grad_(True)
    # Before `FlatParameter` makes views of the weights, which a later move would detach.
    pipeline.unet.to(memory_format=torch.channels_last)
    # Half the activation memory for a third more time.
    if params.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
        for encoder in encoders:
            encoder.gradient_checkpointing_enable()
    return [weight for part in parts for weight in part.parameters() if weight.requires_grad]


def save_generator(pipeline: Pipeline, base_dir: Path, out_dir: Path, params: DreamBoothParams) -> None:
    """Save the trained weights: LoRA weights alone, or a pipeline whose untrained parts are copied from the base.

    The copies have the same bytes as the base, so DVC stores them once for all classes.
    """
    if params.method == "lora":
        _save_adapters(pipeline, out_dir, params)
        return
    trained = _trained_parts(pipeline, params)
    shutil.copytree(base_dir, out_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*trained))
    for part in trained:
        save_part(getattr(pipeline, part), out_dir / part)


def _trained_parts(pipeline: Pipeline, params: DreamBoothParams) -> list[str]:
    return ["unet", *(text_parts(pipeline) if params.train_text_encoder else [])]


def _add_adapters(pipeline: Pipeline, params: DreamBoothParams, seed: int) -> None:
    from peft import LoraConfig

    # peft draws from torch's global generator; forking leaves the caller's state alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, config in _adapter_configs(pipeline, params).items():
            getattr(pipeline, name).add_adapter(LoraConfig(**config, init_lora_weights="gaussian"))
    # bf16 has 8 significant bits: an update below 1/512 of a weight would be rounded away.
    for part in networks(pipeline):
        for weight in part.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()


def _adapter_configs(pipeline: Pipeline, params: DreamBoothParams) -> dict[str, dict[str, Any]]:
    """What peft has to know of the adapters of each part."""
    # No more than these: an older peft refuses a file whose metadata has keys that it does not know. No less: diffusers
    # 0.35 looks for the patterns.
    shape: dict[str, Any] = {"r": params.lora_rank, "lora_alpha": params.alpha, "rank_pattern": {}, "alpha_pattern": {}}
    targets = {part: list(TEXT_TARGETS) for part in _trained_parts(pipeline, params)} | {"unet": params.lora_targets}
    return {part: shape | {"target_modules": names} for part, names in targets.items()}


def _save_adapters(pipeline: Pipeline, out_dir: Path, params: DreamBoothParams) -> None:
    """Save the adapters in two files with the same weights: by diffusers' names, and by kohya's, both with alpha."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    configs = _adapter_configs(pipeline, params)
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for part in configs:
        found = get_peft_model_state_dict(getattr(pipeline, part))
        found = found if part == "unet" else original_text_names(found)
        layers[part] = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
    type(pipeline).save_lora_weights(
        out_dir,
        weight_name=LORA_WEIGHTS,
        safe_serialization=True,
        **{f"{part}_lora_layers": convert_state_dict_to_diffusers(found) for part, found in layers.items()},
        **{f"{part}_lora_adapter_metadata": config for part, config in configs.items()},
    )
    metadata = kohya_metadata(pipeline.unet, params.lora_rank, params.alpha)
    save_file(kohya_names(layers, params.alpha, is_xl=is_xl(pipeline)), out_dir / KOHYA_WEIGHTS, metadata=metadata)
    for name in (LORA_WEIGHTS, KOHYA_WEIGHTS):
        sort_metadata(out_dir / name)
