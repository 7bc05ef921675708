"""The knobs of a training: a classifier's own, and what a data set changes in them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sdaug.params import convert, require

CUSTOM = "custom"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is built and trained."""

    architecture: str
    options: dict[str, Any]
    pretrained: bool
    image_size: int
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: Literal["constant", "cosine"]
    batch_size: int
    epochs: int
    flip_horizontal: bool

    def __post_init__(self) -> None:
        require(
            not (self.pretrained and self.architecture == CUSTOM), "pretrained", True, "custom has no weights to take"
        )
        require(16 <= self.image_size <= 1024, "image_size", self.image_size, "need 16 to 1024 pixels")
        require(0 < self.learning_rate <= 10, "learning_rate", self.learning_rate, "need more than 0, at most 10")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "need 0 or more and less than 1")
        require(0 <= self.weight_decay <= 1, "weight_decay", self.weight_decay, "need 0 to 1")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "need 2 or more")
        require(self.epochs >= 1, "epochs", self.epochs, "need 1 or more")


@dataclass(frozen=True, kw_only=True)
class ClassifierParams(Recipe):
    """An entry of `classifiers`: a recipe, and by data set what differs from it."""

    by_dataset: dict[str, dict[str, Any]]


def resolve_recipe(classifier: ClassifierParams, dataset: str, *, where: str) -> Recipe:
    """The recipe of one model on one data set.

    Raises:
        ValueError: the data set's own knobs are not knobs of a recipe, or break its rules.
    """
    knobs = asdict(classifier)
    own = knobs.pop("by_dataset").get(dataset, {})
    resolved: Recipe = convert({**knobs, **own}, Recipe, f"{where}.by_dataset.{dataset}" if own else where)
    return resolved


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """Section `train`: what all trainings share."""

    selection: Literal["balanced_accuracy", "accuracy", "loss"]
    num_threads: int

    def __post_init__(self) -> None:
        require(1 <= self.num_threads <= 256, "num_threads", self.num_threads, "need 1 to 256")
