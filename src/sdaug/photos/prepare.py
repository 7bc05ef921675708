"""Preparing a folder of raw photos: checked, square, anonymous images and their manifest."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sdaug.common.files import fresh_dir, write_csv
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, count_labels, write_manifest
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.photos.decode import open_photo, to_square
from sdaug.photos.folders import Part, Source, count_ignored, find_photos, find_unread, find_unused, part_folders
from sdaug.photos.folds import assign_folds, choose_test
from sdaug.photos.formats import UnreadablePhotoError, describe_unread
from sdaug.photos.losses import check_depth, check_losses
from sdaug.photos.params import PrepareParams

NUM_DECODERS = 2  # threads, because Pillow decodes without holding the GIL


class Prepared(NamedTuple):
    """A photo whose pixels are written, but which is not yet assigned to a split."""

    source: Source
    id: str
    group: str
    sha256: str
    sixteen_bit_peak: int | None = None
    has_broken_profile: bool = False


class Broken(NamedTuple):
    """A photo that could not be read, and why."""

    source: Source
    reason: str


def prepare(
    params: PrepareParams, classes: Sequence[str], out_dir: Path, *, names_file: Path | None = None
) -> dict[str, Any]:
    """Write `images/<id>.png` and `manifest.csv`; returns the report, counts first.

    `names_file` gets the file of each id, copies included. It is apart from the photos so that no loader meets a name.

    Raises:
        FileNotFoundError: there is no such raw folder.
        ValueError: the photos or folders violate a rule of section `prepare`.
    """
    # Checks that need no pixels.
    _check_paths(params.raw, out_dir)
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"params.yaml: classes: {list(classes)}; need two or more different names")
    sources = find_photos(params.raw, classes, class_folders=params.class_folders, left_out=params.left_out)
    _check_given_split(params, sources, classes)
    unused = find_unused(params.raw)
    unread = find_unread(params.raw, classes, class_folders=params.class_folders, left_out=params.left_out)
    check_losses(params, sources, broken=[], unread=unread)
    # Without a pattern each photo is a group; its id needs pixels, so the path stands in for it.
    groups = [find_group(source.path, params.group_pattern) or str(source.path) for source in sources]
    num_folds = _num_folds(params, sources)
    _check_training(params, _training_pool(params, sources, groups), classes, kind="images", num_folds=num_folds)

    # One pass over the pixels.
    with fresh_dir(out_dir) as scratch:
        images_dir = scratch / "images"
        images_dir.mkdir()
        loaded, broken = _load_photos(params, sources, images_dir)
        check_losses(params, sources, broken=broken, unread=unread)
        check_depth([(item.source.path, item.sixteen_bit_peak) for item in loaded])
        kept = drop_duplicates(loaded)
        pool = _training_pool(params, [item.source for item in kept], [item.group for item in kept])
        _check_training(params, pool, classes, kind="readable, different images", num_folds=num_folds)
        photos = _split_photos(params, kept)
        _check_split(params, photos, classes)
        write_manifest(scratch / "manifest.csv", photos)

    if names_file is not None:
        files = sorted((item.id, item.source.path.relative_to(params.raw).as_posix()) for item in loaded)
        write_csv(names_file, [{"id": photo_id, "file": file} for photo_id, file in files])
    return {
        **_summarize(photos, classes),
        "num_duplicates": len(loaded) - len(kept),
        **_count_dropped(loaded, kept, photos),
        "num_ignored": count_ignored(params.raw, sources),
        "num_broken": len(broken),
        "broken_of_class": dict(sorted(Counter(_place(item.source) for item in broken).items())),
        "broken": [f"{item.source.path.relative_to(params.raw).as_posix()}: {item.reason}" for item in broken],
        "unused": [f"{item.shown}: {item.reason}" for item in unused],
        "unread": describe_unread(unread),
        "num_broken_profiles": sum(item.has_broken_profile for item in loaded),
        "left_out": list(params.left_out),
    }


def find_group(path: Path, pattern: str | None) -> str | None:
    """The group in a file name: the pattern's first capture group, or its whole match; None without a pattern.

    Raises:
        ValueError: the pattern finds no group in the name.
    """
    if pattern is None:
        return None
    match = re.search(pattern, path.name)
    text = match and match[min(1, match.re.groups)]
    if not text:
        raise ValueError(
            f"{path}: prepare.group_pattern {pattern!r} finds no group in the name; rename the file or edit the pattern"
        )
    return text


def drop_duplicates(loaded: Sequence[Prepared]) -> list[Prepared]:
    """One photo per id, sorted by id; a copy in the test set takes precedence, then one in a given validation set.

    So no photo moves from there to training.

    Raises:
        ValueError: two classes have a photo with the same pixels.
    """
    kept: dict[str, Prepared] = {}
    for item in sorted(loaded, key=lambda item: (item.id, _rank(item.source.part), item.sha256, item.source.path)):
        first = kept.setdefault(item.id, item)
        if first.source.label != item.source.label:
            one, other = sorted([first.source, item.source])
            raise ValueError(
                f"{one.path} and {other.path}: the same picture in two classes ({one.label} and {other.label}); "
                "delete the wrong one"
            )
    return list(kept.values())


def _rank(part: Part | None) -> int:
    return {"test": 0, "val": 1}.get(part or "train", 2)


def _load_photos(
    params: PrepareParams, sources: Sequence[Source], images_dir: Path
) -> tuple[list[Prepared], list[Broken]]:
    """Decode every photo and write its pixels; results are in the order of `sources`."""
    load = partial(_load_photo, params, images_dir)
    with ThreadPoolExecutor(NUM_DECODERS) as pool:
        results = list(progress(pool.map(load, sources), title="prepare", total=len(sources), unit="photo"))
    loaded = [result for result in results if isinstance(result, Prepared)]
    return loaded, [result for result in results if isinstance(result, Broken)]


def _load_photo(params: PrepareParams, images_dir: Path, source: Source) -> Prepared | Broken:
    try:
        content = source.path.read_bytes()
        opened = open_photo(content, sixteen_bit_maximum=params.sixteen_bit_maximum)
    except UnreadablePhotoError as error:
        return Broken(source, str(error))
    except OSError as error:
        return Broken(source, error.strerror or type(error).__name__)
    pixels = to_square(opened.image, size_pixels=params.size_pixels, square=params.square)
    # Not the file name, which may carry the label, as `_C3_` does in the published teats. 12 hex digits: among 10,000
    # photos, the odds of two with one id are 1 in 5.6 million.
    photo_id = hashlib.sha256(pixels.tobytes()).hexdigest()[:12]
    save_png(images_dir / f"{photo_id}.png", pixels)
    group = find_group(source.path, params.group_pattern)
    group_id = photo_id if group is None else hashlib.sha256(group.encode()).hexdigest()[:8]
    sha256 = hashlib.sha256(content).hexdigest()
    return Prepared(source, photo_id, group_id, sha256, opened.sixteen_bit_peak, opened.has_broken_profile)


def _split_photos(params: PrepareParams, kept: Sequence[Prepared]) -> list[Photo]:
    # Test set.
    labels = np.array([item.source.label for item in kept])
    groups = np.array([item.group for item in kept])
    parts = np.array([item.source.part or "train" for item in kept])
    is_test = parts == "test"
    if params.split == "made":
        seed = derive_seed(params.seed, "prepare", "test")
        is_test = choose_test(labels.tolist(), groups.tolist(), test_fraction=params.test_fraction, seed=seed)
    # Folds of the other photos; a validation set that was given is the first one.
    folds = np.full(len(kept), -1)
    is_given = (parts == "val") & (params.split == "given")
    folds[is_given] = 0
    num_given = int(is_given.any())
    train = np.flatnonzero(~is_test & ~is_given)
    num_made, seed = params.num_folds - num_given, derive_seed(params.seed, "prepare", "folds")
    made = assign_folds(labels[train].tolist(), groups[train].tolist(), num_folds=num_made, seed=seed)
    folds[train] = made + num_given
    return [
        Photo(
            id=item.id,
            label=item.source.label,
            group=item.group,
            split="test" if fold < 0 else "train",
            fold=int(fold),
            sha256=item.sha256,
        )
        for item, fold in zip(kept, folds, strict=True)
    ]


def _training_pool(params: PrepareParams, sources: Sequence[Source], groups: Sequence[str]) -> list[tuple[str, str]]:
    """Label and group of each photo that can become a training photo, in a fold that is made here."""
    pairs = zip(sources, groups, strict=True)
    return [(source.label, group) for source, group in pairs if params.split == "made" or source.part == "train"]


def _num_folds(params: PrepareParams, sources: Sequence[Source]) -> int:
    """The number of folds that are made here: a given validation set is one of `prepare.num_folds`."""
    is_given = params.split == "given" and any(source.part == "val" for source in sources)
    return params.num_folds - is_given


def _summarize(photos: Sequence[Photo], classes: Sequence[str]) -> dict[str, int]:
    train = [photo for photo in photos if photo.split == "train"]
    test = [photo for photo in photos if photo.split == "test"]
    train_groups = {photo.group for photo in train}
    return {
        **{f"train.{label}": count for label, count in count_labels(train, classes).items()},
        **{f"test.{label}": count for label, count in count_labels(test, classes).items()},
        "num_groups": len({photo.group for photo in photos}),
        # 371 of 380 in the public split of the teats (docs/slides-photos.md).
        "num_test_images_sharing_a_group_with_training": sum(photo.group in train_groups for photo in test),
    }


def _count_dropped(loaded: Sequence[Prepared], kept: Sequence[Prepared], photos: Sequence[Photo]) -> dict[str, Any]:
    """The dropped copies by split and class, and how many of them were training copies of test photos.

    A copy has the split of its folder, or that of the photo that was kept if the test set is made.
    """
    split_of: dict[str, str] = {photo.id: photo.split for photo in photos}
    kept_paths = {item.source.path for item in kept}
    dropped = [item for item in loaded if item.source.path not in kept_paths]
    counts = Counter(f"{item.source.part or split_of[item.id]}.{item.source.label}" for item in dropped)
    return {
        "duplicates": dict(sorted(counts.items())),
        "num_training_copies_of_test_photos": sum(
            item.source.part in ("train", "val") and split_of[item.id] == "test" for item in dropped
        ),
    }


def _place(source: Source) -> str:
    """Part and class of a photo, as the report counts them."""
    return f"{source.part}.{source.label}" if source.part else source.label


def _check_paths(raw: Path, out_dir: Path) -> None:
    """Check that the folders do not overlap: writing replaces the whole output folder and any photos in it."""
    source, target = raw.resolve(), out_dir.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ValueError(f"{out_dir}: overlaps the raw photos in {raw}; choose another output folder")


def _check_given_split(params: PrepareParams, sources: Sequence[Source], classes: Sequence[str]) -> None:
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
                    f"{_class_folder(params, label, part)}: 0 images, need at least 1; add one, set prepare.split: "
                    f"made in params.yaml, or leave the class out (`sdaug adopt --drop {label}`)"
                )


def _check_training(
    params: PrepareParams, pool: Sequence[tuple[str, str]], classes: Sequence[str], *, kind: str, num_folds: int
) -> None:
    """Check that each class has enough images and groups; `pool` holds the label and group of each image."""
    num_images = Counter(label for label, _ in pool)
    num_groups = Counter(label for label, _ in set(pool))
    for label in classes:
        folder = _class_folder(params, label, "train")
        if num_images[label] < params.min_images:
            raise ValueError(
                f"{folder}: {num_images[label]} {kind}, need at least {params.min_images}; add images, lower "
                f"prepare.min_images in params.yaml, or leave the class out (`sdaug adopt --drop {label}`)"
            )
        if num_groups[label] < num_folds:
            raise ValueError(
                f"{folder}: {kind} of {num_groups[label]} groups, need at least {num_folds}, one per fold; add images, "
                f"lower prepare.num_folds in params.yaml, or leave the class out (`sdaug adopt --drop {label}`)"
            )


def _class_folder(params: PrepareParams, label: str, part: str) -> Path:
    """The folder of a class, for a message; under `made` photos of all parts are pooled."""
    folder = params.class_folders.get(label, label)
    if params.split == "made":
        return params.raw / folder
    roots = part_folders(params.raw, classes=params.class_folders.values(), left_out=params.left_out)
    return next((root for root, found in roots if found == part), params.raw / part) / folder


def _check_split(params: PrepareParams, photos: Sequence[Photo], classes: Sequence[str]) -> None:
    """Check that each class is in the test set and in every fold; groups with several classes can prevent that."""
    train = [(photo.label, photo.group) for photo in photos if photo.split == "train"]
    _check_training(params, train, classes, kind="training images", num_folds=params.num_folds)
    held = {(photo.label, photo.fold) for photo in photos}
    for label in classes:
        for fold in range(-1, params.num_folds):  # -1 is the test set
            if (label, fold) not in held:
                place = "the test set" if fold < 0 else f"fold {fold}"
                raise ValueError(
                    f"{params.raw}: no image of {label} in {place}; add images, or lower prepare.num_folds or change "
                    "prepare.seed in params.yaml"
                )
