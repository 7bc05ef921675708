"""The knobs of the `base` stage, and what a Stable Diffusion must look like on disk."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdaug.params import require

TINY = "tiny"
LAYOUT = ("model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler")
CONFIGS = ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json")
WEIGHTED = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
SUPPORTED = "supported are Stable Diffusion 1.x and 2.x (StableDiffusionPipeline)"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class BaseParams:
    """Section `base`: which Stable Diffusion the study starts from, and how a tiny one is trained."""

    model: str
    revision: str | None
    variant: str | None
    config: Path | None
    caption: str
    vae_channels: list[int]
    latent_channels: int
    vae_steps: int
    vae_batch_size: int
    vae_crop_pixels: int
    vae_learning_rate: float
    unet_channels: list[int]
    unet_steps: int
    unet_batch_size: int
    unet_learning_rate: float
    ema_decay: float
    caption_dropout: float
    flip_horizontal: bool
    seed: int

    def __post_init__(self) -> None:
        factor = 2 ** (len(self.vae_channels) - 1)
        check_source(self.model, self.config, self.variant)
        require(bool(self.caption.strip()), "caption", self.caption, "need a generic prompt such as `a photo`")
        for key in ("vae_channels", "unet_channels"):
            widths = getattr(self, key)
            is_fit = bool(widths) and all(width >= 16 and width % 8 == 0 for width in widths)
            require(is_fit, key, widths, "need widths that are multiples of 8, 16 or more")
        for key in ("latent_channels", "vae_steps", "vae_batch_size", "unet_steps", "unet_batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        is_fit = self.vae_crop_pixels % factor == 0 and self.vae_crop_pixels > 0
        require(is_fit, "vae_crop_pixels", self.vae_crop_pixels, f"need a multiple of {factor}, the VAE's reduction")
        for key in ("vae_learning_rate", "unet_learning_rate"):
            require(0 < getattr(self, key) <= 0.1, key, getattr(self, key), "need more than 0 and at most 0.1")
        for key in ("ema_decay", "caption_dropout"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "need 0 or more and less than 1")


def check_source(model: str, config: Path | None, variant: str | None = None) -> None:
    """Refuse what can be no Stable Diffusion, as far as this machine can tell before anything is loaded.

    Raises:
        ValueError: one line for each way in which `model` is wrong.
    """
    path = Path(model)
    is_pickle = path.suffix in PICKLES
    require(not is_pickle, "model", model, "a pickle can run a stranger's code; convert it to .safetensors")
    if path.suffix == ".safetensors":
        require(path.is_file(), "model", model, "no such file; give the path of a .safetensors checkpoint")
        rule = "a single file needs a local folder of configs: the diffusers layout of its kind, weights left out"
        require(config is not None and (config / "unet" / "config.json").is_file(), "config", str(config or ""), rule)
    elif path.is_dir():
        check_layout(path, where=f"model: {model!r}", variant=variant)
    else:
        is_fit = model == TINY or HUB_ID.fullmatch(model) is not None
        rule = "need `tiny`, a hub id such as owner/name, a folder in the diffusers layout or a .safetensors file"
        require(is_fit, "model", model, rule)


def check_layout(folder: Path, *, where: str, variant: str | None = None) -> None:
    """A folder that holds a Stable Diffusion in the diffusers layout, its weights as safetensors."""
    absent = [name for name in LAYOUT if not (folder / name).exists()]
    absent = absent or [name for name in CONFIGS if not (folder / name).is_file()]
    if absent:
        raise ValueError(f"{where}: no {', '.join(absent)}; need a Stable Diffusion in the diffusers layout")
    try:
        index = json.loads((folder / LAYOUT[0]).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where}: {LAYOUT[0]} is damaged ({error}); copy the folder again") from error
    check_pipeline_class(index, where=where)
    for part, stem in WEIGHTED.items():
        names = [file.name for file in (folder / part).glob("*.safetensors*")]
        kinds = [variant, None] if variant else [None]
        if any(_is_variant(name, stem, kind) for name in names for kind in kinds):
            continue
        if any(name.endswith(".safetensors") for name in names):
            rule = f"no weights{f' of variant {variant!r}' if variant else ''}, but {', '.join(sorted(names))}"
            raise ValueError(f"{where}: {part} has {rule}; set base.variant to what stands before .safetensors")
        raise ValueError(
            f"{where}: {part} has no .safetensors weights (pickled ones are not read: they can run a stranger's "
            "code); save it again with `save_pretrained(..., safe_serialization=True)`"
        )


def _is_variant(name: str, stem: str, variant: str | None) -> bool:
    """Whether a file holds the weights of a variant (None for the plain ones), or lists the files that do."""
    infix = f".{variant}" if variant else ""
    return name in (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")


def check_pipeline_class(index: Mapping[str, Any], *, where: str) -> None:
    """That model_index.json names a kind of pipeline that the study can train."""
    name = index.get("_class_name")
    if name != "StableDiffusionPipeline":
        raise ValueError(f"{where}: a {name}; {SUPPORTED}")
