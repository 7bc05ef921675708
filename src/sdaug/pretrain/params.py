"""The params file of `sdaug pretrain`: `pretrained/params.yaml`."""

import hashlib
import json
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal

from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class WorldParams:
    """Section `world`: how many images of each kind there are to learn from."""

    size_pixels: int
    num_teats: int
    teat_scores: list[int]
    num_leaves: int
    num_objects: int
    photos: Path | None
    num_photos: int
    seed: int

    def __post_init__(self) -> None:
        is_fit = 32 <= self.size_pixels <= 128 and self.size_pixels % 8 == 0
        require(is_fit, "size_pixels", self.size_pixels, "need a multiple of 8 from 32 to 128")
        for key in ("num_teats", "num_leaves", "num_objects", "num_photos"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "need 0 or more")
        is_fit = bool(self.teat_scores) and set(self.teat_scores) <= {1, 2, 3, 4}
        require(is_fit, "teat_scores", self.teat_scores, "need some of 1, 2, 3 and 4")
        is_there = self.photos is not None or self.num_photos == 0
        require(is_there, "photos", str(self.photos or ""), "need a table of photos, or num_photos: 0")


@dataclass(frozen=True, kw_only=True)
class NetworkParams:
    """Section `network`: the sizes of the networks."""

    vae_channels: list[int]
    latent_channels: int
    unet_channels: list[int]
    attention_levels: int
    text_width: int
    text_layers: int
    num_merges: int
    max_tokens: int

    def __post_init__(self) -> None:
        for key in ("vae_channels", "unet_channels"):
            widths = getattr(self, key)
            # torch's backward pass crashed at width 8, not at 16 (LOG.md, 2026-11-22); the UNet has 8 norm groups.
            is_fit = bool(widths) and all(width >= 16 and width % 8 == 0 for width in widths)
            require(is_fit, key, widths, "need multiples of 8, at least 16")
        levels = self.attention_levels
        require(1 <= levels <= len(self.unet_channels), "attention_levels", levels, "need 1 to the UNet's levels")
        require(self.text_width % 32 == 0, "text_width", self.text_width, "need a multiple of 32")
        require(self.max_tokens >= 8, "max_tokens", self.max_tokens, "need 8 or more")


@dataclass(frozen=True, kw_only=True)
class TrainingParams:
    """Sections `vae` and `unet`: one training each."""

    steps: int
    schedule_steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    ema_decay: float
    precision: Literal["auto", "fp32", "bf16"]
    seed: int

    def __post_init__(self) -> None:
        for key in ("steps", "batch_size", "warmup_steps"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        rule = "need at least steps: at this step the learning rate reaches zero"
        require(self.schedule_steps >= self.steps, "schedule_steps", self.schedule_steps, rule)
        require(0 < self.learning_rate <= 0.1, "learning_rate", self.learning_rate, "need more than 0, at most 0.1")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "need 0 or more and less than 1")


@dataclass(frozen=True, kw_only=True)
class PretrainParams:
    """The whole file."""

    world: WorldParams
    network: NetworkParams
    vae: TrainingParams
    unet: TrainingParams
    caption_dropout: float
    min_snr_gamma: float | None
    crop_pixels: int
    checkpoint_seconds: int

    def __post_init__(self) -> None:
        require(0 <= self.caption_dropout < 1, "caption_dropout", self.caption_dropout, "need 0 or more, less than 1")
        factor = 2 ** (len(self.network.vae_channels) - 1)
        is_fit = 0 < self.crop_pixels <= self.world.size_pixels and self.crop_pixels % factor == 0
        require(is_fit, "crop_pixels", self.crop_pixels, f"need a multiple of {factor}, at most world.size_pixels")
        require(self.checkpoint_seconds >= 1, "checkpoint_seconds", self.checkpoint_seconds, "need 1 or more")


def key_of(*params: Any) -> str:
    """A hash of the params that images or a checkpoint were made with."""
    values = [asdict(part) if is_dataclass(part) and not isinstance(part, type) else part for part in params]
    return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()
