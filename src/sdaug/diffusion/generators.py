"""Loading generators that DreamBooth saved: a whole pipeline, or LoRA weights for the base."""

from pathlib import Path

import torch

from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.versions import Pipeline

LORA_WEIGHTS = "pytorch_lora_weights.safetensors"  # of these two files, the one that diffusers takes from a folder
KOHYA_WEIGHTS = "kohya_lora_weights.safetensors"


def load_generator(folder: Path, base_dir: Path, device: torch.device) -> Pipeline:
    """The pipeline of one class, ready for sampling; LoRA weights are merged into the base, so they add no cost."""
    if not (folder / LORA_WEIGHTS).is_file():
        return load_pipeline(folder, device)
    pipeline = load_pipeline(base_dir, device)
    pipeline.load_lora_weights(folder, weight_name=LORA_WEIGHTS)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    return pipeline
