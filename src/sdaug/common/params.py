"""Sections of params.yaml that several stages share, and the values their keys can take.

Each section's dataclass is in the `params.py` of the folder that uses it, or here if several do. These modules import
nothing slow, so that all parameters are checked before any slow work starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from sdaug.common.sections import Checked, Text, convert, read_section, require, section

T = TypeVar("T")
Arm = Mapping[str, Mapping[str, Any]]  # `images` and `training`, as they stand in params.yaml
MADE_DIRS = (Path("data/phantom"), Path("data/teats"))  # photos that stages write: phantom and teats
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
SamplerName = Literal["dpm_solver", "unipc", "ddim", "euler", "pndm"]
Start = Literal["noise", "photo", "neighbour"]  # what a synthetic image is drawn from
Square = Literal["crop", "pad", "stretch"]  # how a photo is made square: centre crop, padding or stretching
Protocol = Literal["clean", "published"]  # a validation fold of real photos, or the split of the slides
Fold = int | Literal["none"]  # the validation fold
Method = Literal["plain", "sctl"]  # how a classifier learns: sctl sees the test photos, too, without their labels


@section
class SplitParams(Checked):
    """Section `split`: the training and validation photos, and which of them a generator may see."""

    protocol: Protocol = Field(
        description="clean (validates on real photos no generator saw) or published (as the slides)"
    )
    fold: Fold = Field(description="the validation fold; none to train on all folds")
    validation_fraction: float = Field(ge=0.05, le=0.5, description="size of the validation set of published")
    seed: int = Field(description="seed of the split of published")

    def __post_init__(self) -> None:
        is_valid = self.fold == "none" or self.fold >= 0
        require(is_valid, "fold", self.fold, "need 0 or more, less than prepare.num_folds, or none")


@section
class Drawing(Checked):
    """Sampling settings of a pipeline: `class_images.drawing`, and most of `synthesize.drawing`."""

    negative_prompt: str = Field(description="what images shall not show; may be empty")
    # At 1 there is no guidance, and a step takes one UNet pass per image instead of two.
    guidance_scale: float = Field(ge=1, description="weight of the prompt; 1 for no guidance")
    inference_steps: int = Field(ge=1, description="steps of the sampler")
    sampler: SamplerName = Field(description="how noise becomes an image")
    batch_size: int = Field(ge=1, description="images drawn at once; rounding depends on it")
    precision: PrecisionName = Field(description="auto is bf16 where the hardware has it")

    def __post_init__(self) -> None:
        # PNDM begins with Runge-Kutta steps over four timesteps (diffusers' `pndm_order`).
        has_enough = self.sampler != "pndm" or self.inference_steps >= 4
        require(has_enough, "inference_steps", self.inference_steps, "need 4 or more for pndm")


@section
class SynthesisDrawing(Drawing):
    """`synthesize.drawing`: also what an image starts from, and how far it may move from there (arXiv 2108.01073).

    `start`: pure `noise`; a training `photo` of the class; or one of the `neighbour`, the adjacent class with the most
    photos. `strength` is the fraction of the sampling steps that are made: 1 leaves nothing of the photo.
    """

    start: Start = Field(description="noise, photo (of the class) or neighbour (a photo of the class beside it)")
    strength: float | None = Field(gt=0, le=1, description="fraction of the steps that are made; empty for noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        strength, is_noise = self.strength, self.start == "noise"
        rule = "nothing to start from; leave it empty, or set start" if is_noise else "need more than 0, at most 1"
        require((strength is None) == is_noise, "strength", strength, rule)
        has_step = strength is None or int(self.inference_steps * strength) >= 1
        require(has_step, "strength", strength, f"less than one of {self.inference_steps} inference_steps")
        # PNDM's first steps assume pure noise.
        rule = "cannot start from a photo; use dpm_solver"
        require(is_noise or self.sampler != "pndm", "sampler", self.sampler, rule)


@section
class ConceptParams(Checked):
    """An entry of `concepts`: the instance prompt of one rare class."""

    instance_prompt: Text = Field(description="prompt with a token that means nothing yet")


def concept_dirs(root: Path, params: Path) -> list[Path]:
    """The folder of each concept below `root`, in the order of section `concepts`.

    Raises:
        ValueError: the section is missing or invalid.
    """
    return [root / label for label in read_section(params, "concepts", dict[str, ConceptParams])]


def read_arm(path: Path, dataset: str, part: Literal["images", "training"], kind: type[T]) -> T:
    """What section `arm` says of `images` or `training`, with what the entry of one data set changes.

    Raises:
        ValueError: a section is missing or invalid.
    """
    shared: Any = read_section(path, f"arm.{part}", kind)
    key = f"datasets.{dataset}.{part}"
    found: T = convert(asdict(shared) | read_section(path, key, dict[str, Any]), kind, f"{path}: {key}")
    return found


def read_arms(path: Path) -> dict[str, Arm]:
    """All settings of each data set, by name; they are not checked one by one.

    Raises:
        ValueError: section `arm` or `datasets` is missing or has another form.
    """
    shared = read_section(path, "arm", dict[str, dict[str, Any]])
    entries = read_section(path, "datasets", dict[str, dict[str, dict[str, Any]]])
    return {name: merge_arm(shared, entry) for name, entry in entries.items()}


def merge_arm(shared: Arm, entry: Arm) -> Arm:
    """An entry of `datasets` with what it leaves to section `arm`; what is no mapping stays, to be refused."""
    return {part: {**shared.get(part, {}), **own} if isinstance(own, Mapping) else own for part, own in entry.items()}


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


def read_methods(path: Path) -> dict[str, Method]:
    """How each classifier learns, by its name.

    Raises:
        ValueError: a method is missing or unknown.
    """
    shared = read_section(path, "recipe.method", object)
    entries = read_section(path, "classifiers", dict[str, dict[str, Any]])
    return {
        model: convert(entry.get("method", shared), Method, f"{path}: classifiers.{model}.method")
        for model, entry in entries.items()
    }
