"""The folder of raw photos: its layout, its photo files and their classes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sdaug.common.manifest import Split

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})  # Windows writes them into folders of photos
SPLITS: tuple[Split, ...] = ("train", "test")


class Source(NamedTuple):
    """A raw photo; `split` is None if the folder has no `train/` and `test/`."""

    path: Path
    label: str
    split: Split | None


def find_photos(raw: Path, classes: Sequence[str]) -> list[Source]:
    """All photos, recognised by file suffix and sorted by path.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the class folders do not match `classes`, or a folder lies beside `train/` and `test/`.
    """
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; set prepare.raw to a folder of class folders")
    sources = []
    for root, split in _split_roots(raw, classes):
        _check_class_folders(root, classes, raw=raw)
        for label in classes:
            photos = [path for path in _walk_files(root / label) if _is_photo(path)]
            sources += [Source(path, label, split) for path in photos]
    # File systems list files in different orders.
    return sorted(sources, key=lambda source: source.path.relative_to(raw).as_posix())


def count_ignored(raw: Path, sources: Sequence[Source]) -> int:
    """The number of files below `raw` that are not photos of a class; hidden and system files are not counted."""
    return sum(1 for _ in _walk_files(raw)) - len(sources)


def _split_roots(raw: Path, classes: Sequence[str]) -> list[tuple[Path, Split | None]]:
    """The folders that contain the class folders: `raw` itself, or its `train/` and `test/`."""
    names = _folder_names(raw)
    # A class may itself be named train or test.
    if not (set(names) - set(classes)) & set(SPLITS):
        return [(raw, None)]
    others = [name for name in names if name not in SPLITS]
    if others:
        raise ValueError(f"{raw / others[0]}: a folder beside train/ and test/; move it away or into one of them")
    return [(raw / split, split) for split in SPLITS if split in names]


def _check_class_folders(root: Path, classes: Sequence[str], *, raw: Path) -> None:
    names = _folder_names(root)
    unlisted = [name for name in names if name not in classes]
    absent = [label for label in classes if label not in names]
    if not unlisted and not absent:
        return
    faults = [f"folders not in `classes`: {', '.join(unlisted)}"] * bool(unlisted)
    faults += [f"classes without a folder: {', '.join(absent)}"] * bool(absent)
    raise ValueError(
        f"{root}: folders {', '.join(names) or '(none)'}, but params.yaml has classes {', '.join(classes)} "
        f"({'; '.join(faults)}); run `sdaug adopt {raw}` or edit `classes`"
    )


def _folder_names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _walk_files(root: Path) -> Iterator[Path]:
    """Files below `root` at any depth, except hidden and system files."""
    for path in root.rglob("*"):
        if path.is_file() and not any(_is_hidden(part) for part in path.relative_to(root).parts):
            yield path


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES
