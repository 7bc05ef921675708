"""Checks before training: prompts that the base can tell apart, and a learning rate that suits the method."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTokenizer

from sdaug.common.params import ConceptParams
from sdaug.diffusion.conditioning import prompt_tokens
from sdaug.diffusion.layout import TOKENIZERS
from sdaug.dreambooth.params import DreamBoothParams

FULL_LEARNING_RATE = 1.0e-5  # full fine-tuning of Stable Diffusion uses 1e-6 to 5e-6, LoRA 1e-4


def check_prompts(base_dir: Path, concepts: Mapping[str, ConceptParams], class_prompt: str | None) -> None:
    """Check that no two prompts are the same to the base: CLIP ignores case and whatever does not fit into its length.

    `class_prompt` is None without prior preservation, which alone trains on it.

    Raises:
        ValueError: two prompts give the same tokens.
    """
    prompts = {f"concepts.{label}.instance_prompt": concept.instance_prompt for label, concept in concepts.items()}
    if class_prompt is not None:
        prompts["class_images.prompt"] = class_prompt
    # SDXL tells two prompts apart if either of its text encoders does.
    folders = [base_dir / name for name in TOKENIZERS if (base_dir / name).is_dir()]
    tokenizers = [CLIPTokenizer.from_pretrained(folder, local_files_only=True) for folder in folders]
    tokenizer = max(tokenizers, key=lambda one: one.model_max_length)
    seen: dict[tuple[tuple[int, ...], ...], str] = {}
    for key, prompt in prompts.items():
        rows = tuple(tuple(prompt_tokens(one, [prompt]).input_ids[0].tolist()) for one in tokenizers)
        other = seen.setdefault(rows, key)
        if other != key:
            raise ValueError(
                f"params.yaml: {other}: {prompts[other]!r} and {key}: {prompts[key]!r} are the same to the base, which "
                f"ignores case and reads {tokenizer.model_max_length} tokens; write prompts that differ within them"
            )


def check_targets(base_dir: Path, params: DreamBoothParams) -> None:
    """Check that each LoRA target names a layer of the base's UNet: peft passes over those that do not, if one does.

    Raises:
        ValueError: a target names no layer, or one that takes no adapter.
    """
    if params.method != "lora":
        return
    with torch.device("meta"):  # no weights are read
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(base_dir / "unet"))
    names = [name for name, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for target in params.lora_targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            near = ", ".join(get_close_matches(target, names, n=3, cutoff=0.0))
            raise ValueError(
                f"params.yaml: dreambooth.lora_targets: {target!r}; the base's UNet has no such layer; near: {near}"
            )


def learning_rate_warning(params: DreamBoothParams) -> str | None:
    """What is wrong with a learning rate of LoRA that is usual for training whole models, or None."""
    if params.method != "lora" or params.learning_rate > FULL_LEARNING_RATE:
        return None
    return (
        f"params.yaml: dreambooth.learning_rate: {params.learning_rate}; that suits method: full, and LoRA learns next "
        "to nothing at it; LoRA usually needs about 1.0e-4"
    )
