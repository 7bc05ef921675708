"""Sections of params.yaml that several stages share, and the values their keys can take.

Each section's dataclass is in the `params.py` of the folder that uses it, or here if several do. These modules import
nothing slow, so that all parameters are checked before any slow work starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sdaug.common.sections import convert, read_section, require

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
SamplerName = Literal["dpm_solver", "unipc", "ddim", "euler", "pndm"]
Start = Literal["noise", "photo", "neighbour"]  # what a synthetic image is drawn from
Square = Literal["crop", "pad", "stretch"]  # how a photo is made square: centre crop, padding or stretching
Protocol = Literal["clean", "published"]  # a validation fold of real photos, or the split of the slides
Fold = int | Literal["none"]  # the validation fold


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: the training and validation photos, and which of them a generator may see."""

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
    """Sampling settings of a pipeline: `class_images.drawing`, and most of `synthesize.drawing`."""

    negative_prompt: str
    guidance_scale: float
    inference_steps: int
    sampler: SamplerName
    batch_size: int
    precision: PrecisionName

    def __post_init__(self) -> None:
        # At 1 there is no guidance, and a step takes one UNet pass per image instead of two.
        require(self.guidance_scale >= 1, "guidance_scale", self.guidance_scale, "need 1 (no guidance) or more")
        for key in ("inference_steps", "batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        # PNDM begins with Runge-Kutta steps over four timesteps (diffusers' `pndm_order`).
        has_enough = self.sampler != "pndm" or self.inference_steps >= 4
        require(has_enough, "inference_steps", self.inference_steps, "need 4 or more for pndm")


@dataclass(frozen=True, kw_only=True)
class SynthesisDrawing(Drawing):
    """`synthesize.drawing`: also what an image starts from, and how far it may move from there (arXiv 2108.01073).

    `start`: pure `noise`; a training `photo` of the class; or one of the `neighbour`, the adjacent class with the most
    photos. `strength` is the fraction of the sampling steps that are made: 1 leaves nothing of the photo.
    """

    start: Start
    strength: float | None

    def __post_init__(self) -> None:
        super().__post_init__()
        strength, is_noise = self.strength, self.start == "noise"
        rule = "nothing to start from; leave it empty, or set start" if is_noise else "need more than 0, at most 1"
        is_fit = strength is None if is_noise else strength is not None and 0 < strength <= 1
        require(is_fit, "strength", strength, rule)
        has_step = strength is None or int(self.inference_steps * strength) >= 1
        require(has_step, "strength", strength, f"less than one of {self.inference_steps} inference_steps")
        # PNDM's first steps assume pure noise.
        rule = "cannot start from a photo; use dpm_solver"
        require(is_noise or self.sampler != "pndm", "sampler", self.sampler, rule)


@dataclass(frozen=True, kw_only=True)
class ConceptParams:
    """An entry of `concepts`: the instance prompt of one rare class."""

    instance_prompt: str

    def __post_init__(self) -> None:
        require(bool(self.instance_prompt.strip()), "instance_prompt", self.instance_prompt, "need a prompt")


def read_seeds(path: Path, model: str) -> list[int]:
    """The training seeds of one model, from a params file: its own, or those of all models.

    Raises:
        ValueError: they are not a list of distinct numbers.
    """
    entry = read_section(path, f"classifiers.{model}", dict[str, Any])
    return resolve_seeds(read_section(path, "seeds", list[int]), entry, where=f"{path}: classifiers.{model}")


def resolve_seeds(shared: Sequence[int], entry: Mapping[str, Any], *, where: str) -> list[int]:
    """The training seeds of one model; `entry` is its entry in `classifiers`.

    Raises:
        ValueError: they are not a list of distinct numbers.
    """
    seeds: list[int] = convert(entry.get("seeds", list(shared)), list[int], f"{where}.seeds")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"{where}.seeds: {seeds}; need at least one, without duplicates")
    return seeds
