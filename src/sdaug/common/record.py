"""Which photos a generator was trained on: a small table in its folder, which the audit holds against the manifest."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sdaug.common.files import read_csv, write_text
from sdaug.common.manifest import Photo

RECORD = "photos.csv"
CHOOSERS = "chosen_by.csv"  # photos that it did not learn from, but that chose its step


class SeenPhoto(NamedTuple):
    """A photo that a generator was trained on; `sha256` is the hash of its source file, as in the manifest."""

    id: str
    sha256: str


def write_record(folder: Path, photos: Iterable[Photo | SeenPhoto], *, name: str = RECORD) -> None:
    """Write the photos that the generator in `folder` was trained on, sorted by id; there may be none."""
    rows = sorted({f"{photo.id},{photo.sha256}\n" for photo in photos})  # a base may adapt to photos it has seen
    # Not `write_csv`: a base from the hub saw none of the photos, and its table is a header.
    write_text(folder / name, "".join(["id,sha256\n", *rows]))


def read_record(folder: Path, *, name: str = RECORD) -> list[SeenPhoto]:
    """The photos that the generator in `folder` was trained on.

    Raises:
        FileNotFoundError: the folder has no record.
        ValueError: the record is damaged.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing, so nobody knows what this generator saw; run `dvc repro -f` on it")
    rows = read_csv(path, columns=SeenPhoto._fields)
    return [SeenPhoto(id=row["id"], sha256=row["sha256"]) for row in rows]
