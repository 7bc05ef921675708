"""Sections of params.yaml that several stages read, and the names they choose from.

A section's dataclass stands in `params.py` of the one folder that all of its readers share. These modules import
nothing slow, so that every knob is checked before anything slow has started.
"""

from dataclasses import dataclass
from typing import Literal

from sdaug.common.sections import require

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
SamplerName = Literal["dpm_solver", "unipc", "ddim", "euler", "pndm"]
Square = Literal["crop", "pad", "stretch"]  # how a photo becomes one: its middle, with a border, or distorted
Protocol = Literal["clean", "published"]
Fold = int | Literal["none"]  # the one that validates


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: which photos train, which validate, and what a generator may see."""

    protocol: Protocol
    fold: Fold
    validation_fraction: float
    seed: int

    def __post_init__(self) -> None:
        is_valid = self.fold == "none" or self.fold >= 0
        require(is_valid, "fold", self.fold, "need 0 or more, less than prepare.num_folds, or none")
        is_fit = 0.05 <= self.validation_fraction <= 0.5
        require(is_fit, "validation_fraction", self.validation_fraction, "need 0.05 to 0.5")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """`class_images.drawing` and `synthesize.drawing`: how a pipeline draws images of a prompt."""

    negative_prompt: str
    guidance_scale: float
    inference_steps: int
    sampler: SamplerName
    batch_size: int
    precision: PrecisionName

    def __post_init__(self) -> None:
        require(self.guidance_scale >= 1, "guidance_scale", self.guidance_scale, "need 1 (no guidance) or more")
        for key in ("inference_steps", "batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        has_enough = self.sampler != "pndm" or self.inference_steps >= 4
        require(has_enough, "inference_steps", self.inference_steps, "need 4 or more for pndm")


@dataclass(frozen=True, kw_only=True)
class ConceptParams:
    """An entry of `concepts`: what one rare class is called in its prompt."""

    instance_prompt: str

    def __post_init__(self) -> None:
        require(bool(self.instance_prompt.strip()), "instance_prompt", self.instance_prompt, "need a prompt")
