"""What a base or generator has learned from: in words and numbers for the report, and photo by photo for the audit.

`seen.json` beside the weights, and among the metrics, says it of a base. `photos.csv` in the folder of a base or
generator lists the photos of a study that it was trained on; the audit holds them against the manifest.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from sdaug.common.files import read_csv, read_json, write_json, write_text
from sdaug.common.sections import Checked, convert

SEEN, RECORD = "seen.json", "photos.csv"
CHOOSERS = "chosen_by.csv"  # photos that it did not learn from, but that chose its step
OTHER = "photos of another study or another split, listed in its photos.csv"


@dataclass(frozen=True, kw_only=True)
class Seen(Checked):
    """What a base has learned from, in words and in numbers of images by kind.

    `num_adapted` are the training photos of the study that a loaded base learned from last.
    """

    summary: str
    counts: dict[str, int]
    num_adapted: int

    @property
    def sentence(self) -> str:
        adapted = f"; then adapted on {self.num_adapted} training photos" if self.num_adapted else ""
        return f"What the base has seen: {self.summary}{adapted}."


UNKNOWN = Seen(summary="unknown to this project, see its model card", counts={}, num_adapted=0)


def write_seen(path: Path, seen: Seen) -> None:
    """Write it as JSON."""
    write_json(path, asdict(seen))


def read_seen(path: Path) -> Seen:
    """What the base has seen, from its JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a key is missing, unknown or of the wrong type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro base`")
    seen: Seen = convert(read_json(path), Seen, f"{path}:")
    return seen


class KnownPhoto(Protocol):
    """A photo of a manifest or a record."""

    @property
    def id(self) -> str: ...

    @property
    def sha256(self) -> str: ...


class SeenPhoto(NamedTuple):
    """A photo that a generator was trained on; `sha256` is the hash of its source file, as in the manifest."""

    id: str
    sha256: str


def write_record(folder: Path, photos: Iterable[KnownPhoto], *, name: str = RECORD) -> None:
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


def find_seen(model: str, photos: Iterable[KnownPhoto], record: Iterable[KnownPhoto]) -> Seen:
    """What the base has seen, given the study's training photos and its record of those it was trained on.

    Raises:
        ValueError: the seen.json of a loaded folder cannot be read.
    """
    known = {SeenPhoto(id=photo.id, sha256=photo.sha256) for photo in record}
    # Only a folder says what it has seen: another run may have made it.
    folder = Path(model)
    seen = read_seen(folder / SEEN) if (folder / SEEN).is_file() else UNKNOWN
    earlier = set(read_record(folder)) if (folder / RECORD).is_file() else set()
    if earlier - {SeenPhoto(id=photo.id, sha256=photo.sha256) for photo in photos}:
        seen = replace(UNKNOWN, summary=OTHER)
    return replace(seen, num_adapted=len(known)) if known - earlier else seen
