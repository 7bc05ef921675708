"""Preparing a folder of raw photos: checked, square, anonymous images and their manifest."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sdaug.common.files import fresh_dir, write_csv
from sdaug.common.manifest import Photo, count_labels, write_manifest
from sdaug.common.photo_copies import Copy, PhotoCopy, find_copies, join_looks, shared_detail, write_copies
from sdaug.photos.folders import Source, count_ignored, find_photos, find_unread, find_unused
from sdaug.photos.folds import TEST, choose_seed, fill_parts, place_groups
from sdaug.photos.formats import describe_unread
from sdaug.photos.groups import find_groups, group_sizes, join_groups
from sdaug.photos.loading import Loaded, file_id, find_same, load_photos
from sdaug.photos.lost_photos import check_depth, check_losses
from sdaug.photos.params import PrepareParams
from sdaug.photos.photo_rules import (
    check_given_split,
    check_paths,
    check_split,
    check_training,
)


class CopyLimits(NamedTuple):
    """From when on photos look alike: `hash_distance` and `copy_correlation` of section `audit`."""

    hash_distance: int
    copy_correlation: float


def prepare(
    params: PrepareParams,
    classes: Sequence[str],
    out_dir: Path,
    *,
    limits: CopyLimits,
    names_file: Path | None = None,
) -> dict[str, Any]:
    """Write `images/<id>.png`, `manifest.csv` and `copies.csv` (photos that look alike); returns the report.

    `names_file` gets the file of each id, copies included. It is apart from the photos so that no loader meets a name.

    Raises:
        FileNotFoundError: there is no such raw folder.
        ValueError: the photos or folders violate a rule of section `prepare`.
    """
    # Checks that need no pixels.
    check_paths(params.raw, out_dir)
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"params.yaml: classes: {list(classes)}; need two or more different names")
    sources = find_photos(params.raw, classes, params.layout)
    check_given_split(params, sources, classes)
    unused = find_unused(params.raw)
    unread = find_unread(params.raw, classes, params.layout)
    check_losses(params, sources, broken=[], unread=unread)
    said = _said_groups(params, sources)
    group_of = dict(zip([source.path for source in sources], said, strict=True))
    # The key of a photo alone needs its bytes, so the path stands in for it.
    keys = [group or str(source.path) for source, group in zip(sources, said, strict=True)]
    num_folds = _num_folds(params, sources)
    check_training(params, _training_pool(params, sources, keys), classes, kind="images", num_folds=num_folds)

    # One pass over the pixels.
    with fresh_dir(out_dir) as scratch:
        images_dir = scratch / "images"
        images_dir.mkdir()
        loaded, broken = load_photos(params, sources, images_dir)
        check_losses(params, sources, broken=broken, unread=unread)
        check_depth([(item.source.path, item.sixteen_bit_peak) for item in loaded])
        same = find_same(loaded)
        kept = [items[0] for items in same]
        for photo_id in {item.id for item in loaded} - {item.id for item in kept}:
            (images_dir / f"{photo_id}.png").unlink()
        copies = _find_copies(kept, limits)
        keys = _group_keys(params, same, group_of, copies)
        pool = _training_pool(params, [item.source for item in kept], keys)
        check_training(params, pool, classes, kind="readable, different images", num_folds=num_folds)
        photos = _place_photos(params, kept, keys)
        check_split(params, photos, classes, find_seed=partial(_find_seed, params, pool, num_folds))
        write_manifest(scratch / "manifest.csv", photos)
        write_copies(scratch, [_with_ids(copy, kept) for copy in copies])

    if names_file is not None:
        write_csv(names_file, _name_rows(same, params.raw))
    return {
        **_summarize(photos, classes),
        "largest_group": group_sizes(keys).largest,
        "num_near_copies": len(copies),
        "num_duplicates": len(loaded) - len(kept),
        **_count_dropped(same, photos),
        "num_ignored": count_ignored(params.raw, sources),
        "num_broken": len(broken),
        "broken_of_class": dict(sorted(Counter(_place(item.source) for item in broken).items())),
        "broken": [f"{item.source.path.relative_to(params.raw).as_posix()}: {item.reason}" for item in broken],
        "unused": [f"{item.shown}: {item.reason}" for item in unused],
        "unread": describe_unread(unread),
        "num_broken_profiles": sum(item.has_broken_profile for item in loaded),
        "left_out": list(params.left_out),
    }


def suggest_seed(params: PrepareParams, classes: Sequence[str]) -> int:
    """The best `prepare.seed` for a folder, from bytes and names alone: no photo is decoded.

    So look-alikes are not known yet; where their groups leave a part without a class, `prepare` offers another seed.

    Raises:
        ValueError: no seed gives each class a place in the test set and in each fold.
    """
    sources = find_photos(params.raw, classes, params.layout)
    said = _said_groups(params, sources)
    keys = [
        group or hashlib.sha256(source.path.read_bytes()).hexdigest()
        for source, group in zip(sources, said, strict=True)
    ]
    pool, num_folds = _training_pool(params, sources, keys), _num_folds(params, sources)
    check_training(params, pool, classes, kind="images", num_folds=num_folds)
    seed = _find_seed(params, pool, num_folds)
    if seed is None:
        raise ValueError(
            f"{params.raw}: no seed gives each class photos in the test set and in each of {params.num_folds} folds; "
            "add photos to the smallest classes, leave them out (--drop), or lower prepare.num_folds in the preset"
        )
    return seed


def _said_groups(params: PrepareParams, sources: Sequence[Source]) -> list[str | None]:
    """The group that a table or the pattern says each photo is of."""
    level = params.group_level
    return find_groups(sources, params.raw, pattern=params.group_pattern, table=params.groups, class_level=level)


def _find_copies(kept: Sequence[Loaded], limits: CopyLimits) -> list[Copy]:
    """The photos that look alike, by their looks before they were made small: another size finds the same."""
    look = join_looks([item.look for item in kept])
    return find_copies(look, look, shared=shared_detail(look), **limits._asdict())


def _with_ids(copy: Copy, kept: Sequence[Loaded]) -> PhotoCopy:
    """A copy by ids, as a table keeps it."""
    places = copy._asdict() | {"first": kept[copy.first].id, "second": kept[copy.second].id}
    return PhotoCopy(**places)


def _group_keys(
    params: PrepareParams, same: Sequence[Sequence[Loaded]], group_of: dict[Path, str | None], copies: Sequence[Copy]
) -> list[str]:
    """The key of the group of each kept photo: what was said of it or of a dropped copy, else the hash of its file.

    With prepare.group_copies, photos that look alike are one group as well, see `join_groups`.
    """
    keys, pairs = list[str](), list[tuple[int, int]]()
    place_of: dict[str, int] = {}
    for place, items in enumerate(same):
        named = sorted({group for item in items if (group := group_of[item.source.path])})
        keys.append(named[0] if named else min(item.sha256 for item in items))
        # Copies with several groups are evidence that these are one.
        pairs += [(place, place_of.setdefault(group, place)) for group in named]
    if params.group_copies:
        pairs += [(copy.first, copy.second) for copy in copies]
    return join_groups(keys, pairs)


def _place_photos(params: PrepareParams, kept: Sequence[Loaded], keys: Sequence[str]) -> list[Photo]:
    """The photos with their groups, splits and folds; a validation set that was given is the first fold."""
    sources = [item.source for item in kept]
    is_made = params.split == "made"
    num_folds = _num_folds(params, sources)
    fraction = params.test_fraction if is_made else None
    places = place_groups(keys, seed=params.seed, num_folds=num_folds, test_fraction=fraction)
    # Those that get their place here.
    own = [i for i, source in enumerate(sources) if is_made or source.part == "train"]
    labels, of_own = [sources[i].label for i in own], [keys[i] for i in own]
    places[own] = fill_parts(
        places[own],
        labels,
        of_own,
        seed=params.seed,
        num_folds=num_folds,
        test_fraction=fraction,
        min_training=params.min_images,
    )
    hashes, photos = {item.sha256 for item in kept}, []
    for item, key, place in zip(kept, keys, places, strict=True):
        fold = int(place) if place == TEST else int(place) + params.num_folds - num_folds
        if not is_made and item.source.part in ("test", "val"):
            fold = TEST if item.source.part == "test" else 0
        photos.append(
            Photo(
                id=item.id,
                label=item.source.label,
                # Of a photo alone, its id; a name could carry the label.
                group=file_id(key) if key in hashes else hashlib.sha256(key.encode()).hexdigest()[:8],
                split="test" if fold == TEST else "train",
                fold=fold,
                sha256=item.sha256,
            )
        )
    return photos


def _find_seed(params: PrepareParams, pool: Sequence[tuple[str, str]], num_folds: int) -> int | None:
    """The best seed for the photos that are placed here; `pool` holds the label and group of each."""
    labels, keys = zip(*pool, strict=True)
    fraction = params.test_fraction if params.split == "made" else None
    return choose_seed(labels, keys, num_folds=num_folds, test_fraction=fraction, min_training=params.min_images)


def _name_rows(same: Sequence[Sequence[Loaded]], raw: Path) -> list[dict[str, str]]:
    """The files of each kept photo's id, its own before those of its copies."""
    return [
        {"id": items[0].id, "file": item.source.path.relative_to(raw).as_posix()} for items in same for item in items
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


def _count_dropped(same: Sequence[Sequence[Loaded]], photos: Sequence[Photo]) -> dict[str, Any]:
    """The dropped copies by split and class, and how many of them were training copies of test photos.

    A copy has the split of its folder, or that of the photo that was kept if the test set is made.
    """
    split_of: dict[str, str] = {photo.id: photo.split for photo in photos}
    dropped = [(item.source, split_of[items[0].id]) for items in same for item in items[1:]]
    counts = Counter(f"{source.part or split}.{source.label}" for source, split in dropped)
    return {
        "duplicates": dict(sorted(counts.items())),
        "num_training_copies_of_test_photos": sum(
            source.part in ("train", "val") and split == "test" for source, split in dropped
        ),
    }


def _place(source: Source) -> str:
    """Part and class of a photo, as the report counts them."""
    return f"{source.part}.{source.label}" if source.part else source.label
