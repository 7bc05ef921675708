"""Composition of an arm: its real and synthetic images, and which of them are for validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sklearn.model_selection import train_test_split

from sdaug.common.drawn import Drawn
from sdaug.common.manifest import Photo, count_labels, missing_counts, training_photos, validation_photos
from sdaug.common.params import SplitParams
from sdaug.common.seeding import derive_seed, numpy_stream
from sdaug.datasets.params import ArmImages

Part = Literal["train", "validation", "test", "reconstructed"]
Origin = Literal["real", "synthetic", "oracle", "reconstructed"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image of an arm; `source` is its file."""

    id: str
    label: str
    origin: Origin
    part: Part
    source: Path
    draw: int | None = None  # of a synthetic image: the seed of its generator; None if it comes from elsewhere
    photo: str = ""  # the photo that a synthetic image started from, if any, or that is repeated: it has its group


def compose_arm(
    photos: Sequence[Photo],
    generated: Sequence[Example],
    further: Sequence[Example] = (),
    *,
    images_dir: Path,
    arm: ArmImages,
    split: SplitParams,
) -> list[Example]:
    """The examples of an arm, training part first, each part sorted by id; `further` are the oracle's photos.

    Photos are repeated in the training part alone, whatever the protocol: no photo validates beside its repetition.

    An arm with synthetic images has those of every draw: a training run uses the photos and the images of one draw.
    Images from elsewhere have no draw: all training runs use the same ones.

    `clean`: validation is the held-out fold of real photos; synthetic images are for training only. `published`: as in
    the slides, all images are pooled and split at random, so synthetic relatives of training photos leak into
    validation.

    Raises:
        ValueError: fewer images have been synthesized than the arm needs.
    """
    found = {example.draw for example in generated if example.draw is not None and arm.has_synthetic}
    draws: list[int | None] = [*sorted(found)] or [None]
    composed = [
        _compose_draw(
            photos,
            [example for example in generated if example.draw == draw],
            further,
            images_dir=images_dir,
            arm=arm,
            split=split,
        )
        for draw in draws
    ]
    # Photos are the same in every draw.
    examples = list(dict.fromkeys(example for of_draw in composed for example in of_draw))
    assert len({example.id for example in examples}) == len(examples), "a photo changed its part between draws"
    examples += repeat_photos(_of_part(examples, "train"), times=arm.duplicated, seed=split.seed)
    return [example for part in ("train", "validation") for example in _ordered(_of_part(examples, part))]


def _of_part(examples: Sequence[Example], part: str) -> list[Example]:
    return [example for example in examples if example.part == part]


def _compose_draw(
    photos: Sequence[Photo],
    generated: Sequence[Example],
    further: Sequence[Example],
    *,
    images_dir: Path,
    arm: ArmImages,
    split: SplitParams,
) -> list[Example]:
    seen = training_photos(photos, split)
    joining = choose_synthetic(generated, count_synthetic(seen, arm), seed=split.seed)
    if not arm.real:
        # A class that is not synthesized, such as the largest, keeps its photos.
        replaced = {example.label for example in joining}
        seen = [photo for photo in seen if photo.label not in replaced]
    if arm.shuffle_labels:
        joining = shuffle_labels(joining, seed=split.seed)
    joining = [*joining, *further]
    if split.protocol == "clean":
        held_out = validation_photos(photos, fold=split.fold)
        return [
            *as_examples(seen, images_dir, part="train"),
            *joining,
            *as_examples(held_out, images_dir, part="validation"),
        ]
    pool = _ordered([*as_examples(seen, images_dir, part="train"), *joining])
    train, validation = train_test_split(
        pool, test_size=split.validation_fraction, random_state=derive_seed(split.seed, "pool") % 2**32
    )
    return [*train, *(replace(example, part="validation") for example in validation)]


def count_missing(seen: Sequence[Photo], *, times: float) -> dict[str, int]:
    """`times` the number of images that each class lacks to match the largest one."""
    counts = count_labels(seen, sorted({photo.label for photo in seen}))
    return {label: round(times * lack) for label, lack in missing_counts(counts).items()}


def count_synthetic(seen: Sequence[Photo], arm: ArmImages) -> dict[str, int]:
    """The number of synthetic images that the arm has of each class with a generator."""
    return {label: arm.per_class or count for label, count in count_missing(seen, times=arm.multiple).items()}


def choose_synthetic(generated: Sequence[Example], wanted: dict[str, int], *, seed: int) -> list[Example]:
    """A nested random subset per class, sorted by id; `wanted` is its size for each class.

    Raises:
        ValueError: a class has fewer images than wanted.
    """
    chosen = []
    for label in sorted({example.label for example in generated}):
        of_class = _ordered([example for example in generated if example.label == label])
        if wanted[label] > len(of_class):
            raise ValueError(
                f"params.yaml: datasets: images: synthetic: needs {wanted[label]} images of {label}, there are "
                f"{len(of_class)}; raise synthesize.multiple_of_missing (or num_images, keep_share), or lower "
                "synthetic (or per_class)"
            )
        # The order does not depend on `wanted`, so more images contain fewer.
        order = numpy_stream(seed, "share", label).permutation(len(of_class))
        chosen += [of_class[index] for index in order[: wanted[label]]]
    return _ordered(chosen)


def repeat_photos(examples: Sequence[Example], *, times: float, seed: int) -> list[Example]:
    """Repetitions of real photos: `times` the number of photos that each class lacks to match the largest one.

    Within a class, each photo is repeated equally often, except for a random remainder. More contain fewer.
    """
    of_class: dict[str, list[Example]] = {}
    for example in _ordered([example for example in examples if example.origin == "real"]):
        of_class.setdefault(example.label, []).append(example)
    largest = max(map(len, of_class.values()), default=0)
    repeated = []
    for label, photos in of_class.items():
        order = numpy_stream(seed, "repeat", label).permutation(len(photos))
        for place in range(round(times * (largest - len(photos)))):
            turn, index = divmod(place, len(photos))
            photo = photos[order[index]]
            repeated.append(replace(photo, id=f"repeated-{turn + 1}-{photo.id}", photo=photo.id))
    return repeated


def keep_best(generated: Sequence[Example], probabilities: Mapping[str, float], share: float) -> list[Example]:
    """The best share of the images of each class and draw, by the probability of their class; ties go by id.

    Raises:
        ValueError: an image has no probability.
    """
    absent = [example.id for example in generated if example.id not in probabilities]
    if absent:
        raise ValueError(f"data/filter.csv: {absent[0]}: no such row; run `dvc repro filter`")
    kept = []
    for label, draw in dict.fromkeys((example.label, example.draw) for example in generated):
        of_both = [example for example in generated if (example.label, example.draw) == (label, draw)]
        ranked = sorted(of_both, key=lambda example: (-probabilities[example.id], example.id))
        kept += ranked[: round(share * len(ranked))]
    return _ordered(kept)


def shuffle_labels(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """The same images with randomly permuted labels: a negative control."""
    # ResNet-18: 48.3 % balanced accuracy with shuffled labels, 42.5 % with true ones (presets/arms.yaml, fbf214a).
    order = numpy_stream(seed, "shuffled labels").permutation(len(examples))
    return [replace(example, label=examples[index].label) for example, index in zip(examples, order, strict=True)]


def as_examples(photos: Sequence[Photo], images_dir: Path, *, part: Part) -> list[Example]:
    """Real photos as examples of one part."""
    return [
        Example(id=photo.id, label=photo.label, origin="real", part=part, source=images_dir / photo.file_name)
        for photo in photos
    ]


def synthetic_examples(images: Sequence[Drawn], folder: Path) -> list[Example]:
    """The synthetic images in a folder as training examples."""
    return [
        Example(
            id=image.id,
            label=image.label,
            origin="synthetic",
            part="train",
            source=folder / image.file_name,
            draw=image.draw,
            photo=image.photo,
        )
        for image in images
    ]


def _ordered(examples: Sequence[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: example.id)
