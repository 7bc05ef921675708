"""Which level of nested folders names the classes, and which photos look like masks of others."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sdaug.photos.folders import natural_key
from sdaug.photos.formats import is_picture
from sdaug.photos.tree import Tree

NUM_NAMED = 5  # folder names that an error shows of each level
# Folders of a set that was divided to be handed out, or taken in several years, and not by classes.
PIECE = re.compile(r"(.*[ _.-])?(part|batch|chunk|fold|split|volume|session)[ _.-]?\d+|(19|20)\d\d", re.IGNORECASE)
MASK_FOLDER = re.compile(r"masks?|segmentations?|segs?|annotations?|ground[ _-]?truths?|gt|overlays?", re.IGNORECASE)
# What people add to the name of a photo for a picture that marks something in it.
MASK_TAIL = re.compile(r"[ _.-]*(mask|seg|segmentation|annotation|groundtruth|gt|overlay|contour)", re.IGNORECASE)


class Mask(NamedTuple):
    """A picture that looks like a mask, the photo beside it, and a pattern for all such."""

    path: Path
    photo: Path
    pattern: str


def choose_class_level(folder: Path, tree: Tree) -> int:
    """How many folders down the classes are, told by names that repeat: `2021/rust` and `2022/rust` have one class.

    Raises:
        ValueError: photos lie in no folder, the folders are pieces of one set, or they could be read in two ways.
    """
    above = [place.folders for place in tree.files if is_picture(place.path)]
    depth = max(map(len, above), default=0)
    if depth == 0:
        raise ValueError(
            f"{folder}: photos, but no folders that could be classes; give a table (--labels labels.csv "
            "--file-column image --label-column class), or put the photos of each class in a folder"
        )
    names = {level: sorted({at[level - 1] for at in above if len(at) >= level}) for level in range(1, depth + 1)}
    first = next((level for level in names if len(names[level]) > 1), depth)
    # A name that all have, such as `images`, tells no classes apart.
    below = [level for level in range(first + 1, depth + 1) if len(names[level]) > 1]
    repeated = [level for level in below if _repeats(above, level)]
    chosen = repeated[-1] if repeated else first
    if repeated:
        # Numbered folders in every class may be patients, and so may numbered scores in every year.
        is_doubted = _numberness(names[chosen]) > _numberness(names[first])
    else:
        _refuse_pieces(folder, first, names[first])
        # One folder in each: both names are of the same photos. Numbered ones could be patients, and no classes.
        single = [level for level in below if _is_single(above, first, level)]
        is_doubted = any(_numberness(names[level]) <= _numberness(names[first]) for level in single)
    if is_doubted:
        shown = "; ".join(f"--class-level {level}: {_shown(names[level])}" for level in (first, *below))
        raise ValueError(f"{folder}: folders within folders; which ones are the classes? {shown}")
    return chosen


def name_deeper_folders(tree: Tree, class_level: int) -> str | None:
    """What to say of folders within the classes that could be classes themselves; None if there are none such."""
    above = [place.folders for place in tree.files if is_picture(place.path) and len(place.folders) > class_level]
    names, deeper = ({at[level - 1] for at in above} for level in (class_level, class_level + 1))
    if len(deeper) < 2 or _repeats(above, class_level + 1) or _numberness([*deeper]) > _numberness([*names]):
        return None
    return (
        f"folders within classes: {_shown([*deeper])}; if these are the classes, give --class-level {class_level + 1}"
    )


def _refuse_pieces(folder: Path, level: int, names: Sequence[str]) -> None:
    """Refuse `part_1` and `part_2`, or years, as classes, unless the user says that they are."""
    if len(names) > 1 and all(PIECE.fullmatch(name) for name in names):
        raise ValueError(
            f"{folder}: {_shown(names)} look like pieces of one set, not like classes; give a table (--labels "
            f"labels.csv --file-column image --label-column class), or --class-level ({level} if they are the classes)"
        )


def find_masks(files: Sequence[Path]) -> list[Mask]:
    """The photos that look like masks: `x_mask.png` beside `x.png`, `masks/x.png` beside `images/x.png` or `x.png`."""
    photo_at = {path.parent / path.stem: path for path in files}
    beside = _without_a_folder(files)
    masks = (_mask_by_name(path, photo_at) or _mask_by_folder(path, photo_at, beside) for path in files)
    return [mask for mask in masks if mask]


# Where a path lies if one of its folders is cut out: what is above and below of it.
_Cut = tuple[tuple[str, ...], tuple[str, ...]]


def _without_a_folder(files: Sequence[Path]) -> dict[_Cut, Path]:
    """The photos by what is left of their path if a folder is cut out; not one such as `masks` or `without_mask`."""
    cuts: dict[_Cut, Path] = {}
    for path in files:
        parts = path.with_suffix("").parts
        for place, name in enumerate(parts[:-1]):
            if not any(MASK_FOLDER.fullmatch(word) for word in (name, *re.split(r"[ _-]", name))):
                cuts[parts[:place], parts[place + 1 :]] = path
    return cuts


def _mask_by_name(path: Path, photo_at: Mapping[Path, Path]) -> Mask | None:
    for match in MASK_TAIL.finditer(path.stem):
        photo = photo_at.get(path.parent / path.stem[: match.start()])
        if photo and photo != path:
            return Mask(path, photo, f"*{match[0]}*")
    return None


def _mask_by_folder(path: Path, photo_at: Mapping[Path, Path], beside: Mapping[_Cut, Path]) -> Mask | None:
    parts = path.with_suffix("").parts
    # The mask may be called as the photo, or with a tail of its own.
    stems = [path.stem, *(path.stem[: match.start()] for match in MASK_TAIL.finditer(path.stem))]
    for place, name in enumerate(parts[:-1]):
        for stem in stems if MASK_FOLDER.fullmatch(name) else ():
            below = (*parts[place + 1 : -1], stem)
            photo = beside.get((parts[:place], below)) or photo_at.get(Path(*parts[:place], *below))
            if photo:
                return Mask(path, photo, name)
    return None


def _repeats(above: Iterable[tuple[str, ...]], level: int) -> bool:
    """Whether most folders of a level are called as others that lie elsewhere."""
    parents: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for at in above:
        if len(at) >= level:
            parents[at[level - 1]].add(at[: level - 1])
    return 2 * sum(len(there) > 1 for there in parents.values()) >= len(parents) > 0


def _is_single(above: Iterable[tuple[str, ...]], first: int, level: int) -> bool:
    """Whether all photos lie so far down, and most folders of level `first` have a single folder there."""
    inner: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for at in above:
        if len(at) < level:
            return False
        inner[at[:first]].add(at[:level])
    return 2 * sum(len(there) == 1 for there in inner.values()) >= len(inner)


def _numberness(names: Sequence[str]) -> int:
    """2 for numbers and dates, 1 for words that end with a number, else 0."""
    if all(re.fullmatch(r"[\d _.-]+", name) for name in names):
        return 2
    return int(all(re.search(r"\d$", name) for name in names))


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(sorted(names, key=natural_key)[:NUM_NAMED]) + more
