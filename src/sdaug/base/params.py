"""Section `base` of params.yaml."""

import re
from dataclasses import dataclass
from pathlib import Path

from sdaug.common.sections import require
from sdaug.common.seen import SEEN, read_seen
from sdaug.diffusion.layout import SCHEDULER, check_layout, has_zero_terminal_snr, read_scheduler

TINY = "tiny"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
# Names on the hub begin with a letter or digit: `./sd` and `../sd` are paths.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
VARIANT = re.compile(r"[A-Za-z0-9][\w-]*")


@dataclass(frozen=True, kw_only=True)
class BaseParams:
    """Section `base`: the Stable Diffusion model to start from, how it adapts, and how a tiny one is trained."""

    model: str
    revision: str | None
    variant: str | None
    config: Path | None
    caption: str
    adapt_steps: int
    adapt_learning_rate: float
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
        rule = "tiny has learned these photos already; set it to 0"
        require(self.adapt_steps >= 0, "adapt_steps", self.adapt_steps, "need 0 (no adapting) or more")
        require(self.model != TINY or not self.adapt_steps, "adapt_steps", self.adapt_steps, rule)
        for key in ("vae_channels", "unet_channels"):
            widths = getattr(self, key)
            # torch's backward pass crashed at width 8, not at 16 (LOG.md, 2026-11-22); the UNet has 8 norm groups.
            is_fit = bool(widths) and all(width >= 16 and width % 8 == 0 for width in widths)
            require(is_fit, key, widths, "need multiples of 8, at least 16")
        for key in ("latent_channels", "vae_steps", "vae_batch_size", "unet_steps", "unet_batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        is_fit = self.vae_crop_pixels % factor == 0 and self.vae_crop_pixels > 0
        require(is_fit, "vae_crop_pixels", self.vae_crop_pixels, f"need a multiple of {factor} (VAE scale factor)")
        for key in ("adapt_learning_rate", "vae_learning_rate", "unet_learning_rate"):
            require(0 < getattr(self, key) <= 0.1, key, getattr(self, key), "need more than 0 and at most 0.1")
        for key in ("ema_decay", "caption_dropout"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "need 0 or more and less than 1")

    @property
    def sees_photos(self) -> bool:
        """Whether the base is trained, or trained further, on photos of the study."""
        return self.model == TINY or self.adapt_steps > 0

    def has_zero_terminal_snr(self) -> bool:
        """Whether the last timestep is known to be pure noise, as it is for `tiny`; a hub's model is not asked."""
        path = self.config if Path(self.model).suffix == ".safetensors" else Path(self.model)
        if self.model == TINY or path is None or not (path / SCHEDULER).is_file():
            return self.model == TINY
        return has_zero_terminal_snr(read_scheduler(path))


def check_source(model: str, config: Path | None, variant: str | None = None) -> None:
    """Check that `model` can be a Stable Diffusion model, as far as possible without loading or downloading it.

    Raises:
        ValueError: `model`, `config` or `variant` is wrong.
    """
    path = Path(model)
    rule = "need a word such as fp16, which stands in the names of the weight files; empty for none"
    require(variant is None or VARIANT.fullmatch(variant) is not None, "variant", variant, rule)
    is_pickle = path.suffix in PICKLES
    require(not is_pickle, "model", model, "a pickle can run arbitrary code; convert it to .safetensors")
    if path.suffix == ".safetensors":
        require(path.is_file(), "model", model, "no such file; give the path of a .safetensors checkpoint")
        rule = "a single file needs a local folder of configs: the diffusers layout of its model without the weights"
        require(config is not None and (config / "unet" / "config.json").is_file(), "config", str(config or ""), rule)
    elif path.is_dir():
        check_layout(path, where=f"model: {model!r}", variant=variant)
        if (path / SEEN).is_file():
            read_seen(path / SEEN)
    else:
        is_fit = model == TINY or HUB_ID.fullmatch(model) is not None
        rule = "need `tiny`, a hub id such as owner/name, a folder in the diffusers layout or a .safetensors file"
        require(is_fit, "model", model, rule)
        rule = f"the folder {path.parent} has no such model; give a folder in the diffusers layout, or a hub id"
        require(model == TINY or not path.parent.is_dir(), "model", model, rule)
