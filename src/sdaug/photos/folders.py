"""The folder of raw photos: its layout, its photo files and their classes."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sdaug.common.sections import NAME
from sdaug.photos.folder_layout import Layout
from sdaug.photos.formats import is_photo, is_picture, unread_suffixes
from sdaug.photos.label_table import Labelled, match_rows
from sdaug.photos.tree import Part, Place, Tree, is_followed, is_hidden, is_utf8, part_of, read_tree, walk


class Source(NamedTuple):
    """A raw photo; `part` is None if the folder is not divided into `train/` and others, `group` if none is known."""

    path: Path
    label: str
    part: Part | None
    group: str | None = None


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
    return sum(1 for inner in walk(raw, PurePosixPath()) if not (raw / inner).is_dir()) - len(sources)


def find_unused(raw: Path) -> list[Unused]:
    """Paths that look like photos or folders of them and are not read, sorted; hidden ones are not counted.

    These are links to folders (they could lead out of the data set, or in a circle), links to nothing, pipes and the
    like, and names that are not UTF-8 (no table could hold them).
    """
    found = []
    for path in raw.rglob("*"):
        inner = path.relative_to(raw)
        if any(is_hidden(part) for part in inner.parts):
            continue
        reason = _fault(path)
        if reason and not (path.is_dir() and is_followed(PurePosixPath(*inner.parts))):
            found.append(Unused(os.fsencode(inner.as_posix()).decode("utf-8", "backslashreplace"), reason))
    return sorted(found)


def only_folder(raw: Path) -> Path:
    """The folder itself, or what it wraps: archives often hold a single folder, which holds all others."""
    names = sorted(path.name for path in raw.iterdir() if path.is_dir() and not is_hidden(path.name))
    holds_photos = any(is_photo(path) for path in raw.iterdir())
    if len(names) != 1 or holds_photos or part_of(names[0]):
        return raw
    holds_folders = any(path.is_dir() and not is_hidden(path.name) for path in (raw / names[0]).iterdir())
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
