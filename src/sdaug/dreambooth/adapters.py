"""Selecting and saving the weights that DreamBooth trains: full models or LoRA, with or without the text encoder."""

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import nn

from sdaug.diffusion.exchange import kohya_metadata, kohya_names, original_text_names, sort_metadata
from sdaug.diffusion.generators import KOHYA_WEIGHTS, LORA_WEIGHTS
from sdaug.diffusion.pipelines import save_part
from sdaug.dreambooth.params import DreamBoothParams

TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


def adapt(
    pipeline: StableDiffusionPipeline, params: DreamBoothParams, dtype: torch.dtype, *, seed: int
) -> list[nn.Parameter]:
    """Prepare the pipeline for training in place; returns the trainable weights, in float32, all others being frozen.

    With LoRA (Hu et al., arXiv 2106.09685) the UNet's frozen weights are cast to `dtype`; 16 bits halve their memory.
    """
    # Freeze everything, then free the adapters or the chosen parts.
    parts = [pipeline.unet, *([pipeline.text_encoder] if params.train_text_encoder else [])]
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
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
        if params.train_text_encoder:
            pipeline.text_encoder.gradient_checkpointing_enable()
    return [weight for part in parts for weight in part.parameters() if weight.requires_grad]


def save_generator(pipeline: StableDiffusionPipeline, base_dir: Path, out_dir: Path, params: DreamBoothParams) -> None:
    """Save the trained weights: LoRA weights alone, or a pipeline whose untrained parts are copied from the base.

    The copies have the same bytes as the base, so DVC stores them once for all classes.
    """
    if params.method == "lora":
        _save_adapters(pipeline, out_dir, params)
        return
    trained = ["unet", *(["text_encoder"] if params.train_text_encoder else [])]
    shutil.copytree(base_dir, out_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*trained))
    for part in trained:
        save_part(getattr(pipeline, part), out_dir / part)


def _add_adapters(pipeline: StableDiffusionPipeline, params: DreamBoothParams, seed: int) -> None:
    from peft import LoraConfig

    # peft draws from torch's global generator; forking leaves the caller's state alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, config in _adapter_configs(params).items():
            getattr(pipeline, part).add_adapter(LoraConfig(**config, init_lora_weights="gaussian"))
    # bf16 has 8 significant bits: an update below 1/512 of a weight would be rounded away.
    for part in (pipeline.unet, pipeline.text_encoder):
        for weight in part.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()


def _adapter_configs(params: DreamBoothParams) -> dict[str, dict[str, Any]]:
    """What peft has to know of the adapters of each part."""
    # No more than these: an older peft refuses a file whose metadata has keys that it does not know. No less: diffusers
    # 0.35 looks for the patterns.
    shape: dict[str, Any] = {"r": params.lora_rank, "lora_alpha": params.alpha, "rank_pattern": {}, "alpha_pattern": {}}
    configs = {"unet": shape | {"target_modules": params.lora_targets}}
    if params.train_text_encoder:
        configs["text_encoder"] = shape | {"target_modules": list(TEXT_TARGETS)}
    return configs


def _save_adapters(pipeline: StableDiffusionPipeline, out_dir: Path, params: DreamBoothParams) -> None:
    """Save the adapters in two files with the same weights: by diffusers' names, and by kohya's, both with alpha."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    configs = _adapter_configs(params)
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for part in configs:
        found = get_peft_model_state_dict(getattr(pipeline, part))
        found = original_text_names(found) if part == "text_encoder" else found
        layers[part] = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
    StableDiffusionPipeline.save_lora_weights(
        out_dir,
        weight_name=LORA_WEIGHTS,
        safe_serialization=True,
        **{f"{part}_lora_layers": convert_state_dict_to_diffusers(found) for part, found in layers.items()},
        **{f"{part}_lora_adapter_metadata": config for part, config in configs.items()},
    )
    metadata = kohya_metadata(pipeline.unet, params.lora_rank, params.alpha)
    save_file(kohya_names(layers, params.alpha), out_dir / KOHYA_WEIGHTS, metadata=metadata)
    for name in (LORA_WEIGHTS, KOHYA_WEIGHTS):
        sort_metadata(out_dir / name)
