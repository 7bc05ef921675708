"""Prepared photos: their pixels and the manifest, the only source of labels, groups and splits."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdaug.common.files import RESTORE, read_csv, write_csv
from sdaug.common.images import read_pngs
from sdaug.common.params import Fold, SplitParams
from sdaug.common.sections import Checked, require
from sdaug.common.tables import read_table

Split = Literal["train", "test"]
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Photo(Checked):
    """One prepared photo; `fold` is -1 for test photos, `sha256` is the hash of the source file."""

    id: str
    label: str
    group: str
    split: Split
    fold: int
    sha256: str

    def __post_init__(self) -> None:
        # The id becomes a file name.
        rule = "need letters, digits, `_`, `-` and dots, a letter or digit first"
        require(bool(ID.fullmatch(self.id)), "id", self.id, rule)

    @property
    def file_name(self) -> str:
        return f"{self.id}.png"


def write_manifest(path: Path, photos: Iterable[Photo]) -> None:
    """Write the photos sorted by id, so that their order reveals nothing about the class."""
    write_csv(path, [asdict(photo) for photo in sorted(photos, key=lambda photo: photo.id)])


def read_manifest(prepared_dir: Path) -> list[Photo]:
    """The photos of a prepared folder, sorted by id.

    Raises:
        FileNotFoundError: the folder has no manifest.
        ValueError: the manifest is damaged.
    """
    path = prepared_dir / "manifest.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest; run `dvc repro prepare`")
    photos = read_table(path, Photo)
    twice = [photo_id for photo_id, count in Counter(photo.id for photo in photos).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: id {twice[0]!r}: in several rows; {RESTORE}")
    return photos


def read_names(path: Path) -> dict[str, str]:
    """The file of each photo's id, below the raw folder, from the table of names that `prepare` writes."""
    files: dict[str, str] = {}
    for row in read_csv(path, columns=("id", "file")):
        files.setdefault(row["id"], row["file"])  # the kept file comes before its copies
    return files


def name_test_set(photos: Iterable[Photo]) -> str:
    """Eight hex digits that tell the test sets of studies apart, by the bytes of their photos and by their labels."""
    lines = sorted(f"{photo.sha256} {photo.label}\n" for photo in photos if photo.split == "test")
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]


def read_photos(prepared_dir: Path, photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """Pixels `(N, H, W, 3)` in the order of `photos`."""
    if not photos:
        raise ValueError(f"{prepared_dir}: no photos to read; is there a class without training photos?")
    return read_pngs(photo_files(prepared_dir, photos))


def photo_files(prepared_dir: Path, photos: Iterable[Photo]) -> list[Path]:
    """The files of photos, in their order."""
    return [prepared_dir / "images" / photo.file_name for photo in photos]


def training_photos(photos: Sequence[Photo], split: SplitParams) -> list[Photo]:
    """The photos a generator may see: the training folds (clean protocol), or all but the test set (published)."""
    check_protocol(photos, split)
    train = [photo for photo in photos if photo.split == "train"]
    return train if split.protocol == "published" else [photo for photo in train if photo.fold != split.fold]


def validation_photos(photos: Sequence[Photo], *, fold: Fold) -> list[Photo]:
    """The real photos of the validation fold, unseen by generators of the clean protocol; empty for fold `none`."""
    return [photo for photo in photos if photo.split == "train" and photo.fold == fold]


def check_protocol(photos: Sequence[Photo], split: SplitParams) -> None:
    """Check the split of a clean study; the published protocol is not checked.

    Raises:
        ValueError: the fold does not exist, or a group is in both the training and the test set.
    """
    # Test photos of the public split share groups with training photos (docs/slides-photos.md).
    if split.protocol == "published":
        return
    fold = split.fold
    folds = {photo.fold for photo in photos if photo.split == "train"}
    if fold != "none" and fold not in folds:
        raise ValueError(f"params.yaml: split.fold: {fold}; the prepared photos have folds {sorted(folds)}, or none")
    # Photos of one individual look alike: a group on both sides would leak the test set into training.
    groups = {photo.group for photo in photos if photo.split == "train"}
    crossing = sum(photo.split == "test" and photo.group in groups for photo in photos)
    if crossing:
        raise ValueError(
            f"params.yaml: split.protocol: clean, but {crossing} test photos share a group with a training photo; "
            "set prepare.split: made (a new test set of whole groups) or split.protocol: published"
        )


def missing_counts(counts: dict[str, int]) -> dict[str, int]:
    """How many images each class is short of the largest one."""
    largest = max(counts.values())
    return {label: largest - count for label, count in counts.items()}


def count_labels(photos: Iterable[Photo], classes: Sequence[str]) -> dict[str, int]:
    """The number of photos per class, in the order of `classes`."""
    found = Counter(photo.label for photo in photos)
    return {label: found[label] for label in classes}


def label_indices(photos: Iterable[Photo], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class index of each photo in `classes`, `(N,)`."""
    places = {label: k for k, label in enumerate(classes)}
    return np.array([places[photo.label] for photo in photos], dtype=np.int64)
