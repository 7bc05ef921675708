"""The folder of raw photos: its layout, its photo files and their classes."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from sdaug.common.sections import NAME
from sdaug.photos.formats import LOST_SUFFIXES, PHOTO_SUFFIXES, unread_suffixes
from sdaug.photos.label_table import Labelled, match_rows
from sdaug.photos.layout import Layout

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # Windows and macOS write them beside photos

Part = Literal["train", "val", "test"]
# What data sets call their parts, in any case, alone or with "set" or "data" after it: `training_set`, `Test data`.
PART_FOLDERS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation"),
    "test": ("test", "testing"),
}


class Source(NamedTuple):
    """A raw photo; `part` is None if the folder is not divided into `train/` and others, `group` if none is known."""

    path: Path
    label: str
    part: Part | None
    group: str | None = None


class Place(NamedTuple):
    """A file or folder below the raw folder: the folders above it without that of its part, and its part.

    Of a folder, `folders` ends with its own name.
    """

    path: Path
    folders: tuple[str, ...]
    part: Part | None


class Tree(NamedTuple):
    """All files and folders below the raw folder that the layout does not leave out, in the order of their paths."""

    files: list[Place]
    folders: list[Place]


class Unused(NamedTuple):
    """A path below the raw folder that cannot be used, and why; `shown` is safe to print and to write."""

    shown: str
    reason: str


def find_photos(raw: Path, classes: Sequence[str], layout: Layout | None = None) -> list[Source]:
    """All photos, recognised by file suffix and sorted by path.

    Raises:
        FileNotFoundError: there is no such folder, or no table of labels.
        ValueError: the folders or the table do not match `classes`, or a folder lies beside `train/` and the others.
    """
    # File systems list files in different orders.
    return sorted(
        (source for source in _class_files(raw, classes, layout or Layout()) if is_photo(source.path)),
        key=lambda source: source.path.relative_to(raw).as_posix(),
    )


def find_unread(raw: Path, classes: Sequence[str], layout: Layout | None = None) -> Counter[tuple[str, str]]:
    """How many files of classes are no photos by their suffix, by class and suffix.

    Raises:
        FileNotFoundError, ValueError: as `find_photos`.
    """
    return unread_suffixes((source.label, source.path) for source in _class_files(raw, classes, layout or Layout()))


def read_tree(raw: Path, layout: Layout, classes: Collection[str] = ()) -> Tree:
    """What is below the raw folder; a class may itself be named train or test, and then `classes` has to name it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a folder lies beside `train/` and the others, or two folders are one part.
    """
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; set prepare.raw to a folder of class folders")
    files, folders = list[PurePosixPath](), list[PurePosixPath]()
    for inner in _walk(raw, PurePosixPath()):
        (folders if (raw / inner).is_dir() else files).append(inner)
    files, folders = (
        [inner for inner in found if inner.parts[0] not in layout.left_out and not layout.is_ignored(inner)]
        for found in (files, folders)
    )
    depth, left_out = _split_depth(raw, folders, layout, classes), [(name,) for name in layout.left_out]
    tree = Tree(
        files=[_place(raw, inner, inner.parts[:-1], depth) for inner in files],
        folders=[_place(raw, inner, inner.parts, depth) for inner in folders if len(inner.parts) - 1 != depth],
    )
    level = layout.class_level
    return Tree(*([place for place in places if place.folders[level - 1 : level] not in left_out] for places in tree))


def class_folder_names(tree: Tree, class_level: int) -> list[str]:
    """The names of the folders at the level of classes, in the order of `natural_key`."""
    names = {place.folders[class_level - 1] for place in tree.folders if len(place.folders) == class_level}
    return sorted(names, key=natural_key)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts 2 before 10, and words without regard to case."""
    words = re.split(r"(\d+)", name)
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word.casefold()) for word in words] + [(2, 0, name)]


def count_ignored(raw: Path, sources: Sequence[Source]) -> int:
    """The number of files below `raw` that are not photos of a class; hidden and system files are not counted."""
    return sum(1 for inner in _walk(raw, PurePosixPath()) if not (raw / inner).is_dir()) - len(sources)


def find_unused(raw: Path) -> list[Unused]:
    """Paths that look like photos or folders of them and are not read, sorted; hidden ones are not counted.

    These are links to folders (they could lead out of the data set, or in a circle), links to nothing, pipes and the
    like, and names that are not UTF-8 (no table could hold them).
    """
    found = []
    for path in raw.rglob("*"):
        inner = path.relative_to(raw)
        if any(_is_hidden(part) for part in inner.parts):
            continue
        reason = _fault(path)
        if reason and not (path.is_dir() and _is_followed(PurePosixPath(*inner.parts))):
            found.append(Unused(os.fsencode(inner.as_posix()).decode("utf-8", "backslashreplace"), reason))
    return sorted(found)


def only_folder(raw: Path) -> Path:
    """The folder itself, or what it wraps: archives often hold a single folder, which holds all others."""
    names = sorted(path.name for path in raw.iterdir() if path.is_dir() and not _is_hidden(path.name))
    holds_photos = any(is_photo(path) for path in raw.iterdir())
    if len(names) != 1 or holds_photos or part_of(names[0]):
        return raw
    holds_folders = any(path.is_dir() and not _is_hidden(path.name) for path in (raw / names[0]).iterdir())
    return only_folder(raw / names[0]) if holds_folders else raw


def class_ids(names: Sequence[str]) -> dict[str, str]:
    """A safe id for each class name, in ASCII: `Mild Dementia` is `mild_dementia`; equal ones are numbered.

    The ids are those of params, stages and files, where other characters would break a command or a path.
    """
    ids: dict[str, str] = {}
    for place, name in enumerate(names, start=1):
        if NAME.fullmatch(name):
            ids[name] = name
            continue
        plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
        joined = "_".join("".join(c if c.isalnum() else " " for c in plain).split())
        ids[name] = joined or f"class_{place}"  # such as a name in Chinese
    # Names that are safe by themselves keep theirs.
    taken = {name for name in names if ids[name] == name}
    for name in names:
        if ids[name] == name:
            continue
        stem, number = ids[name], 1
        while ids[name] in taken:
            number += 1
            ids[name] = f"{stem}_{number}"
        taken.add(ids[name])
    return ids


def is_utf8(name: str) -> bool:
    """Whether a file name can be written to a table: other bytes reach Python as lone surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_photo(path: Path) -> bool:
    """Whether a file is a photo of a kind that is read, by its suffix."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, read or not, by its suffix."""
    return is_photo(path) or path.suffix.lower() in LOST_SUFFIXES


def part_of(name: str) -> Part | None:
    """The part that a folder is by its name."""
    word = re.sub(r"[ _-]*(set|data)?$", "", name.lower())
    return next((part for part, names in PART_FOLDERS.items() if word in names), None)


def _class_files(raw: Path, classes: Sequence[str], layout: Layout) -> list[Source]:
    """The files of all classes."""
    tree = read_tree(raw, layout, [layout.name_of(label) for label in classes])
    if layout.labels:
        return _labelled_files(raw, classes, layout, tree)
    files = []
    # Where parts lie within classes, class folders are of all parts.
    for part in _parts(tree):
        names = {place.folders[layout.class_level - 1] for place in _at_class_level(tree, layout, part)}
        label_of = {name: label for label, name in _match_names(raw, names, classes, layout, part).items()}
        for place in tree.files:
            name = place.folders[layout.class_level - 1] if len(place.folders) >= layout.class_level else None
            if place.part == part and name in label_of:
                files.append(Source(place.path, label_of[name], part))
    return files


def _parts(tree: Tree) -> list[Part | None]:
    found: dict[Part | None, None] = dict.fromkeys(place.part for place in (*tree.folders, *tree.files) if place.part)
    return list(found) or [None]


def _at_class_level(tree: Tree, layout: Layout, part: Part | None) -> Iterator[Place]:
    at_level = (place for place in tree.folders if len(place.folders) == layout.class_level)
    return (place for place in at_level if place.part in (part, None))


def _labelled_files(raw: Path, classes: Sequence[str], layout: Layout, tree: Tree) -> list[Source]:
    """The files that the table of labels names."""
    assert layout.labels
    label_of = {layout.name_of(label): label for label in classes}
    pictures = [place for place in tree.files if is_picture(place.path)]
    found: list[Labelled | None] = match_rows(layout.labels, [place.path.relative_to(raw) for place in pictures]).rows
    known = {*label_of, *layout.left_out}
    unknown = sorted({row.name for row in found if row and row.name not in known})
    if unknown:
        raise ValueError(
            f"{layout.labels.table}: classes {', '.join(unknown)}, which are not in `classes` of params.yaml; run "
            f"`sdaug adopt {raw}`, or name them in prepare.left_out"
        )
    return [
        Source(place.path, label_of[row.name], place.part, row.group)
        for place, row in zip(pictures, found, strict=True)
        if row and row.name in label_of
    ]


def _split_depth(raw: Path, folders: Sequence[PurePosixPath], layout: Layout, classes: Collection[str]) -> int | None:
    """How deep `train/` and the others lie; None if there are none."""
    names_at: dict[int, dict[PurePosixPath, set[str]]] = defaultdict(lambda: defaultdict(set))
    for inner in folders:
        if inner.name not in layout.left_out:
            names_at[len(inner.parts) - 1][inner.parent].add(inner.name)
    for depth in sorted(names_at):
        names = sorted(set().union(*names_at[depth].values()))
        parts = [name for name in names if name not in classes and part_of(name)]
        others = [name for name in names if name not in parts]
        # Deeper down, a lone `test` among other folders is nothing special.
        if not parts or (others and depth and len({part_of(name) for name in parts}) < 2):
            continue
        if others:
            beside = min(inner for inner in folders if inner.name == others[0] and len(inner.parts) - 1 == depth)
            raise ValueError(
                f"{raw / beside}: a folder beside {', '.join(f'{name}/' for name in parts)}; move it away or into one "
                "of them, or name it in prepare.left_out (`sdaug adopt --drop`)"
            )
        for parent, there in names_at[depth].items():
            if len({part_of(name) for name in there}) < len(there):
                where = ", ".join(sorted(there))
                raise ValueError(f"{raw / parent}: folders {where}; need one of each kind: put their photos together")
        return depth
    return None


def _place(raw: Path, inner: PurePosixPath, folders: tuple[str, ...], depth: int | None) -> Place:
    if depth is None or len(folders) <= depth:
        return Place(raw / inner, folders, None)
    return Place(raw / inner, folders[:depth] + folders[depth + 1 :], part_of(folders[depth]))


def _match_names(
    raw: Path, names: Collection[str], classes: Sequence[str], layout: Layout, part: Part | None
) -> dict[str, str]:
    """The folder name of each class: its very name, or one that differs in case or in Unicode's form only.

    Raises:
        ValueError: folders and classes do not match.
    """
    wanted: Mapping[str, str] = {label: layout.name_of(label) for label in classes}
    found = {label: name for label, name in wanted.items() if name in names}
    rest = sorted(name for name in names if name not in found.values())
    for label, name in wanted.items():
        alike = [other for other in rest if _folded(other) == _folded(name)]
        if label not in found and len(alike) == 1:
            found[label] = alike[0]
            rest.remove(alike[0])
    absent = [label for label in wanted if label not in found]
    if not rest and not absent:
        return found
    faults = [f"folders not in `classes`: {', '.join(rest)}"] * bool(rest)
    faults += [f"classes without a folder: {', '.join(absent)}"] * bool(absent)
    where = f"{raw} ({part})" if part else f"{raw}"
    raise ValueError(
        f"{where}: folders {', '.join(sorted(names)) or '(none)'}, but params.yaml has classes {', '.join(wanted)} "
        f"({'; '.join(faults)}); run `sdaug adopt {raw}` or edit `classes`"
    )


def _walk(raw: Path, inner: PurePosixPath) -> Iterator[PurePosixPath]:
    """Files and folders below `raw`, except hidden and system ones and names that no table could hold."""
    for path in sorted((raw / inner).iterdir()):
        if _is_hidden(path.name) or not is_utf8(path.name):
            continue
        below = inner / path.name
        if path.is_dir():
            if not path.is_symlink() or _is_followed(below):
                yield below
                yield from _walk(raw, below)
        elif path.is_file():
            yield below


def _is_followed(inner: PurePosixPath) -> bool:
    """Whether a link to a folder is followed: one that is itself a class folder, which someone put there to say so."""
    return len(inner.parts) == 1 or (len(inner.parts) == 2 and part_of(inner.parts[0]) is not None)


def _fault(path: Path) -> str | None:
    if not is_utf8(path.name):
        return "the name is not UTF-8; rename it"
    if path.is_symlink() and path.is_dir():
        return "a link to a folder, which is not followed; copy the folder"
    if not is_photo(path) or path.is_file() or path.is_dir():
        return None
    return "a link to nothing" if path.is_symlink() else "not a regular file"


def _folded(name: str) -> str:
    """The name without case, and with accents written in one way (macOS and Linux differ)."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES
