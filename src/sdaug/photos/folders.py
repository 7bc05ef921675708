"""The folder of raw photos: its layout, its photo files and their classes."""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from sdaug.common.sections import NAME
from sdaug.photos.formats import PHOTO_SUFFIXES, unread_suffixes

SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # Windows and macOS write them beside photos

Part = Literal["train", "val", "test"]
# What data sets call their parts, in any case.
PART_FOLDERS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


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


def find_photos(
    raw: Path, classes: Sequence[str], *, class_folders: Mapping[str, str] | None = None, left_out: Collection[str] = ()
) -> list[Source]:
    """All photos, recognised by file suffix and sorted by path.

    `class_folders` names the folders of classes that are not called as these; folders in `left_out` are passed over.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the class folders do not match `classes`, or a folder lies beside `train/` and the others.
    """
    files = _class_files(raw, classes, class_folders, left_out)
    # File systems list files in different orders.
    return sorted(filter(_is_photo_source, files), key=lambda source: source.path.relative_to(raw).as_posix())


def find_unread(
    raw: Path, classes: Sequence[str], *, class_folders: Mapping[str, str] | None = None, left_out: Collection[str] = ()
) -> Counter[tuple[str, str]]:
    """How many files in class folders are no photos by their suffix, by class and suffix.

    Raises:
        FileNotFoundError, ValueError: as `find_photos`.
    """
    files = _class_files(raw, classes, class_folders, left_out)
    return unread_suffixes((source.label, source.path) for source in files)


def _class_files(
    raw: Path, classes: Sequence[str], class_folders: Mapping[str, str] | None, left_out: Collection[str]
) -> list[Source]:
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; set prepare.raw to a folder of class folders")
    wanted = {label: (class_folders or {}).get(label, label) for label in classes}
    files = []
    for root, part in part_folders(raw, classes=wanted.values(), left_out=left_out):
        for label, folder in _match_folders(root, wanted, left_out, raw=raw).items():
            files += [Source(path, label, part) for path in _walk_files(root / folder)]
    return files


def part_folders(
    raw: Path, *, classes: Collection[str] = (), left_out: Collection[str] = ()
) -> list[tuple[Path, Part | None]]:
    """The folders that contain the class folders: `raw` itself, or its `train/`, `val/` and `test/` in any spelling.

    A class may itself be named train or test; then `classes` has to name it.

    Raises:
        ValueError: another folder lies beside these, or two folders are one part.
    """
    names = [name for name in folder_names(raw) if name not in left_out]
    parts = {name: part for name in names if name not in classes and (part := _part_of(name))}
    if not parts:
        return [(raw, None)]
    others = [name for name in names if name not in parts]
    if others:
        raise ValueError(
            f"{raw / others[0]}: a folder beside {', '.join(f'{name}/' for name in parts)}; move it away or into one "
            "of them, or name it in prepare.left_out (`sdaug adopt --drop`)"
        )
    by_part = {part: name for name, part in parts.items()}
    if len(by_part) < len(parts):
        raise ValueError(f"{raw}: folders {', '.join(parts)}; need one of each kind: put their photos together")
    return [(raw / by_part[part], part) for part in PART_FOLDERS if part in by_part]


def count_ignored(raw: Path, sources: Sequence[Source]) -> int:
    """The number of files below `raw` that are not photos of a class; hidden and system files are not counted."""
    return sum(1 for _ in _walk_files(raw)) - len(sources)


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
        # A link that is itself a class folder is followed: someone put it there to say so.
        if reason and not (path.is_dir() and len(inner.parts) == 1):
            found.append(Unused(os.fsencode(inner.as_posix()).decode("utf-8", "backslashreplace"), reason))
    return sorted(found)


def _fault(path: Path) -> str | None:
    if not is_utf8(path.name):
        return "the name is not UTF-8; rename it"
    if path.is_symlink() and path.is_dir():
        return "a link to a folder, which is not followed; copy the folder"
    if not _is_photo(path) or path.is_file() or path.is_dir():
        return None
    return "a link to nothing" if path.is_symlink() else "not a regular file"


def folder_names(root: Path) -> list[str]:
    """The visible folders in a folder, sorted."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not _is_hidden(path.name))


def only_folder(raw: Path) -> Path:
    """The folder itself, or what it wraps: archives often hold a single folder, which holds all others."""
    names, holds_photos = folder_names(raw), any(_is_photo(path) for path in raw.iterdir())
    if len(names) != 1 or holds_photos or _part_of(names[0]) or not folder_names(raw / names[0]):
        return raw
    return only_folder(raw / names[0])


def class_ids(names: Sequence[str]) -> dict[str, str]:
    """A safe id for each folder name, in ASCII: `Mild Dementia` is `mild_dementia`; equal ones are numbered.

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


def _match_folders(root: Path, wanted: Mapping[str, str], left_out: Collection[str], *, raw: Path) -> dict[str, str]:
    """The folder of each class in `root`: of its very name, or of one that differs in case or in Unicode's form only.

    Raises:
        ValueError: folders and classes do not match.
    """
    names = [name for name in folder_names(root) if name not in left_out]
    found = {label: name for label, name in wanted.items() if name in names}
    rest = [name for name in names if name not in found.values()]
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
    raise ValueError(
        f"{root}: folders {', '.join(names) or '(none)'}, but params.yaml has classes {', '.join(wanted)} "
        f"({'; '.join(faults)}); run `sdaug adopt {raw}` or edit `classes`"
    )


def _folded(name: str) -> str:
    """The name without case, and with accents written in one way (macOS and Linux differ)."""
    return unicodedata.normalize("NFC", name).casefold()


def _part_of(name: str) -> Part | None:
    return next((part for part, names in PART_FOLDERS.items() if name.lower() in names), None)


def _walk_files(root: Path) -> Iterator[Path]:
    """Files below `root` at any depth, except hidden and system files and names that no table could hold."""
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(_is_hidden(part) or not is_utf8(part) for part in parts):
            yield path


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _is_photo_source(source: Source) -> bool:
    return _is_photo(source.path)


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES
