"""The rules that photos and folders must meet for `prepare`, each with its way out."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sdaug.common.manifest import Photo
from sdaug.photos.folders import Source
from sdaug.photos.folds import TEST
from sdaug.photos.params import PrepareParams
from sdaug.photos.tree import Part

PARTS = {"made": "one for the test set and one per fold", "given": "one per fold"}


class Broken(NamedTuple):
    """A photo that could not be read, and why."""

    source: Source
    reason: str


def check_paths(raw: Path, out_dir: Path) -> None:
    """Check that the folders do not overlap: writing replaces the whole output folder and any photos in it."""
    source, target = raw.resolve(), out_dir.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ValueError(f"{out_dir}: overlaps the raw photos in {raw}; choose another output folder")


def check_given_split(params: PrepareParams, sources: Sequence[Source], classes: Sequence[str]) -> None:
    """Check that a given split has photos of each class in each part."""
    if params.split == "made":
        return
    held = {(source.part, source.label) for source in sources}
    parts = {part for part, _ in held}
    for part in ("train", "test"):
        if part not in parts:
            raise ValueError(
                f"{params.raw / part}: no photos, but prepare.split in params.yaml is given; add some or set it to made"
            )
    held_out: tuple[Part, ...] = ("val", "test") if "val" in parts else ("test",)
    for part in held_out:
        for label in classes:
            if (part, label) not in held:
                raise ValueError(
                    f"{class_folder(params, label, part)}: 0 images, need at least 1; add one, set prepare.split: "
                    f"made in params.yaml, or leave the class out (`sdaug adopt --drop {label}`)"
                )


def check_training(
    params: PrepareParams, pool: Sequence[tuple[str, str]], classes: Sequence[str], *, kind: str, num_folds: int
) -> None:
    """Check that each class has enough images and groups; `pool` holds the label and group of each image."""
    num_parts = num_folds + (params.split == "made")
    num_images = Counter(label for label, _ in pool)
    num_groups = Counter(label for label, _ in set(pool))
    for label in classes:
        folder = class_folder(params, label, "train")
        if num_images[label] < params.min_images:
            raise ValueError(
                f"{folder}: {num_images[label]} {kind}, need at least {params.min_images}; add images, lower "
                f"prepare.min_images in params.yaml, or leave the class out (`sdaug adopt --drop {label}`)"
            )
        if num_groups[label] < num_parts:
            raise ValueError(
                f"{folder}: {kind} of {num_groups[label]} groups, need at least {num_parts}, {PARTS[params.split]}; "
                "add images, lower prepare.num_folds in params.yaml, or leave the class out "
                f"(`sdaug adopt --drop {label}`)"
            )


def class_folder(params: PrepareParams, label: str, part: str) -> str:
    """Where the photos of a class are, for a message; under `made` photos of all parts are pooled."""
    where = params.raw if params.split == "made" else params.raw / part
    name = params.layout.name_of(label)
    return f"{where / name}" if params.class_level == 1 and not params.labels else f"{where}: {name}"


def check_split(
    params: PrepareParams, photos: Sequence[Photo], classes: Sequence[str], *, find_seed: Callable[[], int | None]
) -> None:
    """Check that each class is in the test set and in every fold, and has enough training images.

    `find_seed` looks for a seed with which all this holds, which takes seconds.
    """
    held = {(photo.label, photo.fold) for photo in photos}
    num_training = Counter(photo.label for photo in photos if photo.split == "train")
    for label in classes:
        for fold in range(TEST, params.num_folds):
            if (label, fold) not in held:
                place = "the test set" if fold == TEST else f"fold {fold}"
                is_made = fold != TEST or params.split == "made"
                way_out = f" with prepare.seed {params.seed}; {_way_out(find_seed())}" if is_made else "; add images"
                raise ValueError(f"{params.raw}: no image of {label} in {place}{way_out}")
        if num_training[label] < params.min_images:
            raise ValueError(
                f"{class_folder(params, label, 'train')}: {num_training[label]} training images, need at least "
                f"{params.min_images}; {_way_out(find_seed())}, or lower prepare.min_images"
            )


def _way_out(seed: int | None) -> str:
    if seed is not None:
        return f"set prepare.seed: {seed} in params.yaml, with which no class misses a part"
    return "no seed helps: add images, lower prepare.num_folds, or leave the class out (`sdaug adopt --drop`)"
