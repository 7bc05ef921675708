"""The params file of `sdaug pretrain`: `pretrained/params.yaml`."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from typing import Any, Literal

from pydantic import Field

from sdaug.common.sections import Checked, FilePath, require, section


@section
class WorldParams(Checked):
    """Section `world`: how many images of each kind there are to learn from."""

    size_pixels: int = Field(ge=32, le=128, multiple_of=8, description="width and height of images")
    num_teats: int = Field(ge=0, description="drawn teats")
    teat_scores: list[int] = Field(description="scores of these teats")
    num_leaves: int = Field(ge=0, description="drawn leaves")
    num_objects: int = Field(ge=0, description="pictures of shapes")
    photos: FilePath | None = Field(description="a table of photos; empty for none")
    num_photos: int = Field(ge=0, description="photos of that table")
    seed: int = Field(description="seed of all images")

    def __post_init__(self) -> None:
        is_fit = bool(self.teat_scores) and set(self.teat_scores) <= {1, 2, 3, 4}
        require(is_fit, "teat_scores", self.teat_scores, "need some of 1, 2, 3 and 4")
        is_there = self.photos is not None or self.num_photos == 0
        require(is_there, "photos", str(self.photos or ""), "need a table of photos, or num_photos: 0")


@section
class NetworkParams(Checked):
    """Section `network`: the sizes of the networks."""

    vae_channels: list[int] = Field(description="width of each level of the VAE")
    latent_channels: int = Field(ge=1, description="channels of a latent")
    unet_channels: list[int] = Field(description="width of each level of the UNet")
    attention_levels: int = Field(ge=1, description="lowest levels of the UNet that have attention")
    text_width: int = Field(ge=32, multiple_of=32, description="width of the text encoder")
    text_layers: int = Field(ge=1, description="layers of the text encoder")
    num_merges: int = Field(ge=0, description="merges of letters that the tokenizer learns")
    max_tokens: int = Field(ge=8, description="longest prompt, in tokens")

    def __post_init__(self) -> None:
        for key in ("vae_channels", "unet_channels"):
            widths = getattr(self, key)
            # torch's backward pass crashed at width 8, not at 16 (docs/log-2026-11.md); the UNet has 8 norm groups.
            is_fit = bool(widths) and all(width >= 16 and width % 8 == 0 for width in widths)
            require(is_fit, key, widths, "need multiples of 8, at least 16")
        levels = self.attention_levels
        require(levels <= len(self.unet_channels), "attention_levels", levels, "need 1 to the UNet's levels")


@section
class TrainingParams(Checked):
    """Sections `vae` and `unet`: one training each."""

    steps: int = Field(ge=1, description="steps of this training")
    schedule_steps: int = Field(description="step at which the learning rate reaches zero")
    batch_size: int = Field(ge=1, description="images of a step")
    learning_rate: float = Field(gt=0, le=0.1, description="of the optimizer")
    warmup_steps: int = Field(ge=1, description="steps over which the learning rate rises from zero")
    ema_decay: float = Field(ge=0, lt=1, description="decay of a moving average of the weights; 0 for none")
    precision: Literal["auto", "fp32", "bf16"] = Field(description="auto is bf16 where the hardware has it")
    seed: int = Field(description="seed of weights and order")

    def __post_init__(self) -> None:
        rule = "need at least steps: at this step the learning rate reaches zero"
        require(self.schedule_steps >= self.steps, "schedule_steps", self.schedule_steps, rule)


@section
class PretrainParams(Checked):
    """The whole file."""

    world: WorldParams
    network: NetworkParams
    vae: TrainingParams
    unet: TrainingParams
    caption_dropout: float = Field(ge=0, lt=1, description="fraction of captions dropped, for guidance")
    min_snr_gamma: float | None = Field(gt=0, description="min-SNR weighting of timesteps; usually 5, empty for none")
    crop_pixels: int = Field(ge=1, description="width of the crops that the VAE learns from")
    checkpoint_seconds: int = Field(ge=1, description="seconds between checkpoints")

    def __post_init__(self) -> None:
        factor = 2 ** (len(self.network.vae_channels) - 1)
        is_fit = self.crop_pixels <= self.world.size_pixels and self.crop_pixels % factor == 0
        require(is_fit, "crop_pixels", self.crop_pixels, f"need a multiple of {factor}, at most world.size_pixels")


def key_of(*params: Any) -> str:
    """A hash of the params that images or a checkpoint were made with."""
    values = [asdict(part) if is_dataclass(part) and not isinstance(part, type) else part for part in params]
    return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()
