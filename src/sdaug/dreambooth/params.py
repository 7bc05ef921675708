"""Sections `class_images` and `dreambooth` of params.yaml."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from sdaug.common.params import Drawing, PrecisionName
from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class ClassImagesParams:
    """Section `class_images`: how the base samples images for prior preservation, shared by all classes."""

    prompt: str
    num_images: int
    drawing: Drawing
    seed: int

    def __post_init__(self) -> None:
        require(bool(self.prompt.strip()), "prompt", self.prompt, "need a prompt")
        require(self.num_images >= 1, "num_images", self.num_images, "need 1 or more")


@dataclass(frozen=True, kw_only=True)
class DreamBoothParams:
    """Section `dreambooth`: fine-tuning settings for all classes (Ruiz et al., arXiv 2208.12242)."""

    method: Literal["full", "lora"]
    lora_rank: int
    lora_targets: list[str]
    train_text_encoder: bool
    prior_preservation: bool
    prior_loss_weight: float
    training_steps: int
    batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    optimizer: Literal["adamw", "adamw_8bit"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["constant", "linear", "cosine"]
    warmup_steps: int
    max_grad_norm: float
    min_snr_gamma: float | None
    noise_offset: float
    ema_decay: float | None
    precision: PrecisionName
    flip_horizontal: bool
    preview_steps: int
    preview_guidance_scale: float
    num_preview_images: int

    def __post_init__(self) -> None:
        for key in ("lora_rank", "training_steps", "batch_size", "gradient_accumulation_steps"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        for key in ("warmup_steps", "preview_steps", "num_preview_images"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "need 0 or more")
        scale = self.preview_guidance_scale
        require(scale >= 1, "preview_guidance_scale", scale, "need 1 (no guidance) or more")
        require(bool(self.lora_targets), "lora_targets", self.lora_targets, "need names such as to_q, to_k, to_v")
        # On a small base a full weight of 1 holds learning back (LOG.md, 2026-11-22).
        require(0 <= self.prior_loss_weight <= 10, "prior_loss_weight", self.prior_loss_weight, "need 0 to 10")
        # Asked here, before any stage runs; `find_spec` imports nothing.
        has_optimizer = self.optimizer == "adamw" or find_spec("bitsandbytes") is not None
        rule = "needs bitsandbytes, which is not installed: `uv pip install bitsandbytes`, or use adamw"
        require(has_optimizer, "optimizer", self.optimizer, rule)
        require(0 < self.learning_rate <= 0.1, "learning_rate", self.learning_rate, "need more than 0, at most 0.1")
        require(0 <= self.weight_decay < 1, "weight_decay", self.weight_decay, "need 0 or more and less than 1")
        require(self.max_grad_norm > 0, "max_grad_norm", self.max_grad_norm, "need more than 0")
        # The paper recommends 5 (Hang et al., arXiv 2303.09556).
        is_fit = self.min_snr_gamma is None or self.min_snr_gamma > 0
        require(is_fit, "min_snr_gamma", self.min_snr_gamma, "need more than 0 (usually 5), or leave it empty for none")
        require(0 <= self.noise_offset <= 1, "noise_offset", self.noise_offset, "need 0 (none) to 1")
        is_fit = self.ema_decay is None or 0 < self.ema_decay < 1
        require(is_fit, "ema_decay", self.ema_decay, "need more than 0 and less than 1, or leave it empty for none")
