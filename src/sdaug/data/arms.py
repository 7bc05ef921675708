"""What an arm is made of: which real and synthetic images, and which of them are for validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sklearn.model_selection import train_test_split

from sdaug.manifest import Photo, Protocol, training_photos, validation_photos
from sdaug.params import require
from sdaug.seeding import derive_seed, numpy_stream

Part = Literal["train", "validation", "test"]
Origin = Literal["real", "synthetic"]


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: who may see what."""

    protocol: Protocol
    fold: int
    validation_fraction: float
    seed: int

    def __post_init__(self) -> None:
        require(self.fold >= 0, "fold", self.fold, "need 0 or more, less than prepare.num_folds")
        is_fit = 0.05 <= self.validation_fraction <= 0.5
        require(is_fit, "validation_fraction", self.validation_fraction, "need 0.05 to 0.5")


@dataclass(frozen=True, kw_only=True)
class ArmParams:
    """An entry of `datasets`: a composition, and the loss that goes with it."""

    synthetic_fraction: float
    loss: Literal["cross_entropy", "focal"]
    focal_gamma: float

    def __post_init__(self) -> None:
        require(0 <= self.synthetic_fraction <= 1, "synthetic_fraction", self.synthetic_fraction, "need 0 to 1")
        require(0 <= self.focal_gamma <= 10, "focal_gamma", self.focal_gamma, "need 0 to 10")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image of an arm; `source` is its file, relative to the folder it comes from."""

    id: str
    label: str
    origin: Origin
    part: Part
    source: str


def compose_arm(
    photos: Sequence[Photo], synthetic: Sequence[Example], *, arm: ArmParams, split: SplitParams
) -> list[Example]:
    """The examples of an arm, training first, each part ordered by id.

    `clean`: the validation fold is real and synthetic images only train. `published`: as in the slides, all are
    pooled and split at random, so that synthetic relatives of training photos sit in validation.
    """
    joining = choose_synthetic(synthetic, fraction=arm.synthetic_fraction, seed=split.seed)
    seen = training_photos(photos, protocol=split.protocol, fold=split.fold)
    if split.protocol == "clean":
        held_out = validation_photos(photos, fold=split.fold)
        training = [*as_examples(seen, part="train"), *joining]
        return [*_ordered(training), *_ordered(as_examples(held_out, part="validation"))]
    pool = _ordered([*as_examples(seen, part="train"), *joining])
    train, validation = train_test_split(
        pool, test_size=split.validation_fraction, random_state=derive_seed(split.seed, "pool") % 2**32
    )
    return [*_ordered(train), *_ordered([_moved(example, "validation") for example in validation])]


def choose_synthetic(synthetic: Sequence[Example], *, fraction: float, seed: int) -> list[Example]:
    """A share of each class's images, chosen by chance so that a larger share contains every smaller one."""
    chosen = []
    for label in sorted({example.label for example in synthetic}):
        of_class = _ordered([example for example in synthetic if example.label == label])
        order = numpy_stream(seed, "share", label).permutation(len(of_class))
        chosen += [of_class[index] for index in order[: round(fraction * len(of_class))]]
    return _ordered(chosen)


def as_examples(photos: Sequence[Photo], *, part: Part) -> list[Example]:
    """Real photos as examples of one part."""
    return [
        Example(id=photo.id, label=photo.label, origin="real", part=part, source=photo.file_name) for photo in photos
    ]


def _moved(example: Example, part: Part) -> Example:
    return Example(id=example.id, label=example.label, origin=example.origin, part=part, source=example.source)


def _ordered(examples: Sequence[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: example.id)
