"""Selecting and saving the weights that DreamBooth trains: full models or LoRA, with or without the text encoder."""

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from sdaug.diffusion.generators import LORA_WEIGHTS
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
        _save_adapters(pipeline, out_dir, has_text=params.train_text_encoder)
        return
    trained = ["unet", *(["text_encoder"] if params.train_text_encoder else [])]
    shutil.copytree(base_dir, out_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*trained))
    for part in trained:
        save_part(getattr(pipeline, part), out_dir / part)


def _add_adapters(pipeline: StableDiffusionPipeline, params: DreamBoothParams, seed: int) -> None:
    from peft import LoraConfig

    rank = params.lora_rank
    # peft draws from torch's global generator; forking leaves the caller's state alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # alpha = rank, which diffusers assumes for a file that names no alpha.
        config: dict[str, Any] = {"r": rank, "lora_alpha": rank, "init_lora_weights": "gaussian"}
        pipeline.unet.add_adapter(LoraConfig(**config, target_modules=params.lora_targets))
        if params.train_text_encoder:
            pipeline.text_encoder.add_adapter(LoraConfig(**config, target_modules=list(TEXT_TARGETS)))
    # bf16 has 8 significant bits: an update below 1/512 of a weight would be rounded away.
    for part in (pipeline.unet, pipeline.text_encoder):
        for weight in part.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()


def _save_adapters(pipeline: StableDiffusionPipeline, out_dir: Path, *, has_text: bool) -> None:
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    def layers(part: nn.Module) -> dict[str, torch.Tensor]:
        converted = convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        return {name: tensor.detach().cpu().contiguous() for name, tensor in converted.items()}

    StableDiffusionPipeline.save_lora_weights(
        out_dir,
        unet_lora_layers=layers(pipeline.unet),
        text_encoder_lora_layers=layers(pipeline.text_encoder) if has_text else None,
        weight_name=LORA_WEIGHTS,
        safe_serialization=True,
    )
