"""All that is below the raw folder, but for what is hidden or left out, and its division in parts such as `train/`."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from sdaug.photos.folder_layout import Layout
from sdaug.photos.formats import is_picture

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # Windows and macOS write them beside photos

Part = Literal["train", "val", "test"]
# What data sets call their parts, in any case, alone or with "set" or "data" after it: `training_set`, `Test data`.
PART_FOLDERS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation"),
    "test": ("test", "testing"),
}


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


def read_tree(raw: Path, layout: Layout, classes: Collection[str] = ()) -> Tree:
    """What is below the raw folder; a class may itself be named train or test, and then `classes` has to name it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a folder lies beside `train/` and the others, only some class folders have parts, or two folders are
            one part.
    """
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; set prepare.raw to a folder of class folders")
    files, folders = list[PurePosixPath](), list[PurePosixPath]()
    for inner in walk(raw, PurePosixPath()):
        (folders if (raw / inner).is_dir() else files).append(inner)
    files, folders = (
        [inner for inner in found if inner.parts[0] not in layout.left_out and not layout.is_ignored(inner)]
        for found in (files, folders)
    )
    left_out = [(name,) for name in layout.left_out]
    depth = _split_depth(raw, files, folders, layout, classes)
    tree = Tree(
        files=[_place(raw, inner, inner.parts[:-1], depth) for inner in files],
        folders=[_place(raw, inner, inner.parts, depth) for inner in folders if len(inner.parts) - 1 != depth],
    )
    level = layout.class_level
    return Tree(*([place for place in places if place.folders[level - 1 : level] not in left_out] for places in tree))


def part_of(name: str) -> Part | None:
    """The part that a folder is by its name."""
    word = re.sub(r"[ _-]*(set|data)?$", "", name.lower())
    return next((part for part, names in PART_FOLDERS.items() if word in names), None)


def walk(raw: Path, inner: PurePosixPath) -> Iterator[PurePosixPath]:
    """Files and folders below `raw`, except hidden and system ones and names that no table could hold."""
    for path in sorted((raw / inner).iterdir()):
        if is_hidden(path.name) or not is_utf8(path.name):
            continue
        below = inner / path.name
        if path.is_dir():
            if not path.is_symlink() or is_followed(below):
                yield below
                yield from walk(raw, below)
        elif path.is_file():
            yield below


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left alone by its name."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def is_followed(inner: PurePosixPath) -> bool:
    """Whether a link to a folder is followed: one that is itself a class folder, which someone put there to say so."""
    return len(inner.parts) == 1 or (len(inner.parts) == 2 and part_of(inner.parts[0]) is not None)


def is_utf8(name: str) -> bool:
    """Whether a file name can be written to a table: other bytes reach Python as lone surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _split_depth(
    raw: Path,
    files: Sequence[PurePosixPath],
    folders: Sequence[PurePosixPath],
    layout: Layout,
    classes: Collection[str],
) -> int | None:
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
        divided = {parent for parent, there in names_at[depth].items() if there.intersection(parts)}
        _refuse_undivided(raw, files, divided, depth)
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


def _refuse_undivided(
    raw: Path, files: Sequence[PurePosixPath], divided: Collection[PurePosixPath], depth: int
) -> None:
    """Refuse a class folder with photos and no parts beside one with parts: its photos would be in none."""
    pictures = [PurePosixPath(*file.parts[:depth]) for file in files if len(file.parts) > depth and is_picture(file)]
    undivided = sorted({folder for folder in pictures if folder not in divided})
    if undivided:
        one, other = undivided[0], min(divided)
        option = f"--drop {one}" if depth == 1 else f"--ignore '{one}'"
        raise ValueError(
            f"{raw / one}: {pictures.count(one)} photos, and no train/ or test/ as in {raw / other}; divide them "
            f"likewise, or put all photos of {other} together (a test set is then made), or leave {one} out "
            f"(`sdaug adopt {option}`)"
        )


def _place(raw: Path, inner: PurePosixPath, folders: tuple[str, ...], depth: int | None) -> Place:
    if depth is None or len(folders) <= depth:
        return Place(raw / inner, folders, None)
    return Place(raw / inner, folders[:depth] + folders[depth + 1 :], part_of(folders[depth]))
