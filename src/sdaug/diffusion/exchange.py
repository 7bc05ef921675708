"""Files as other tools read them: a text encoder's weights as in Stable Diffusion 1.5, CLIP's vocabulary, and LoRA.

transformers 5 names these weights by how the model was made, and writes its tokenizer as one file. transformers 4 reads
neither: it would start the text encoder from random weights, with no more than a warning.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_kohya
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE

from sdaug.diffusion.layout import XL_ADDITION

TEXT_PREFIX = "text_model."  # of all names in the text encoder of Stable Diffusion 1.5
PROJECTION = "text_projection."  # of SDXL's second text encoder, the only name without that prefix
VERSION_2_WIDTH = 1024  # of prompt embeddings in Stable Diffusion 2; 768 in 1
HEAD_BYTES = 8  # of the length of a safetensors file's head
SHARDS = "*.safetensors.index*.json"

Value = TypeVar("Value")


def original_text_names(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The weights of a text encoder by their names in Stable Diffusion 1.5, or in SDXL."""
    return {
        name if name.startswith(PROJECTION) else TEXT_PREFIX + name.removeprefix(TEXT_PREFIX): value
        for name, value in weights.items()
    }


def rename_text_weights(folder: Path) -> None:
    """Name the weights of a saved text encoder as in Stable Diffusion 1.5; their values and order do not change.

    Raises:
        ValueError: the weights are in several files; a text encoder of Stable Diffusion is far too small for that.
    """
    if list(folder.glob(SHARDS)):
        raise ValueError(f"{folder}: the text encoder is in several files; base.model is no Stable Diffusion")
    for path in folder.glob("*.safetensors"):
        save_file(original_text_names(load_file(path)), path, metadata={"format": "pt"})


def write_vocabulary(folder: Path) -> None:
    """Write vocab.json and merges.txt beside a saved tokenizer, from its tokenizer.json."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    model = Tokenizer.from_file(str(path)).model
    if isinstance(model, BPE):
        model.save(str(folder))


def kohya_names(
    layers: Mapping[str, Mapping[str, torch.Tensor]], alpha: float, *, is_xl: bool
) -> dict[str, torch.Tensor]:
    """LoRA weights by kohya's names, with the alpha of each layer; SDXL has numbers in those of its text encoders.

    `layers` are peft's weights of `unet` and perhaps of text encoders, by the original names of their layers.
    """
    whole = {f"{part}.{name}": tensor for part, found in layers.items() for name, tensor in found.items()}
    named = convert_state_dict_to_kohya(whole)
    # diffusers writes SDXL's name of the text encoder for all versions, and the rank for alpha.
    text = "lora_te1_" if is_xl else "lora_te_"
    return {
        name.replace("lora_te1_", text): torch.tensor(float(alpha)) if name.endswith(".alpha") else tensor
        for name, tensor in named.items()
    }


def kohya_metadata(unet: UNet2DConditionModel, rank: int, alpha: float) -> dict[str, str]:
    """What a file of kohya's says of itself; AUTOMATIC1111 tells versions apart by its last key."""
    is_xl = unet.config.addition_embed_type == XL_ADDITION
    is_version_2 = unet.config.cross_attention_dim == VERSION_2_WIDTH
    return {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(alpha)),
        **({"ss_base_model_version": "sdxl_base_v1-0"} if is_xl else {"ss_v2": str(is_version_2)}),
    }


def sort_metadata(path: Path) -> None:
    """Sort the metadata in the head of a safetensors file, in place: safetensors writes them in a random order."""
    content = path.read_bytes()
    start, size = HEAD_BYTES, int.from_bytes(content[:HEAD_BYTES], "little")
    head = json.loads(content[start : start + size])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    # Padded to the length that it had, or the offsets of the weights would lose their alignment.
    path.write_bytes(content[:start] + text.ljust(size) + content[start + size :])
