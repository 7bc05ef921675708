"""The photos of the slides: a table of their names, scores and udder photos, and the unpacking of their archives.

The photos are those of doi 10.3390/ani12070886, in three archives of the public repository YoushanZhang/SCTL:
`Train_1.zip` and `Train_2.zip` with folders `Score_1` to `Score_4`, and `Test.zip` with the scores in the file names.
"""

import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sdaug.common.files import read_csv
from sdaug.common.manifest import Split

LABELS_FILE = Path(__file__).with_name("teats_labels.csv")
# Crops of one udder photo must stay in one split to avoid leakage. Matches all 1529 names, of 409 udder photos.
GROUP_PATTERN = r"^(?P<group>\d{8}_\d{6}|R\d+_\d{4})_"
SCORES = (1, 2, 3, 4)
MAX_PHOTO_BYTES = 4 * 2**20  # the largest photo in Train_2.zip has 49,453
SCORE_FOLDER = re.compile(r"score[ _-]?(\d+)", re.IGNORECASE)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
REMEDY = "import the published archive again as docs/slides-photos.md describes"


@dataclass(frozen=True, kw_only=True)
class Teat:
    """Metadata of a published photo; `label_source` is folder, filename or inferred_from_published_accuracies."""

    split: Split
    file: str
    score: int
    label_source: str
    udder_group: str


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive, not yet read."""

    archive: Path
    info: zipfile.ZipInfo

    def __str__(self) -> str:
        return f"{self.archive}: {self.info.filename}"

    @property
    def path(self) -> PurePosixPath:
        # Some Windows tools write backslashes.
        return PurePosixPath(self.info.filename.replace("\\", "/"))

    @property
    def is_photo(self) -> bool:
        is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in self.path.parts)
        return not is_hidden and self.path.suffix.lower() in IMAGE_SUFFIXES


def read_labels(path: Path = LABELS_FILE) -> list[Teat]:
    """The published photos, training before test, each sorted by name."""
    return [
        Teat(
            split="test" if row["split"] == "test" else "train",
            file=row["file"],
            score=int(row["score"]),
            label_source=row["label_source"],
            udder_group=row["udder_group"],
        )
        for row in read_csv(path)
    ]


def unpack_teats(archives: Sequence[Path], out_dir: Path, *, table: Sequence[Teat] | None = None) -> dict[str, int]:
    """Write the photos to `out_dir/<split>/score_<N>`; returns counts per folder, and `skipped`, the other members.

    Args:
        table: the exact joint contents of the archives; by default the published photos.

    Raises:
        FileNotFoundError: an archive is missing.
        ValueError: an archive is damaged or unsafe, or the photos do not match the table.
    """
    teats = {teat.file: teat for teat in (read_labels() if table is None else table)}
    members = [member for archive in archives for member in list_members(archive)]

    # These checks read only the archive directories, so nothing is unpacked before all of them pass.
    photos = [member for member in members if member.is_photo]
    for member in photos:
        _check_label(member, teats)
    _check_same_bytes(photos)
    _check_complete(archives, photos, teats)

    for archive in archives:
        with zipfile.ZipFile(archive) as stream:
            for member in (photo for photo in photos if photo.archive == archive):
                teat = teats[member.path.name]
                target = out_dir / teat.split / f"score_{teat.score}" / teat.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(_read_member(stream, member))

    counts = Counter((teat.split, teat.score) for teat in teats.values())
    written = {f"{split}/score_{score}": counts[split, score] for split in ("train", "test") for score in SCORES}
    return {**written, "skipped": len(members) - len(photos)}


def list_members(archive: Path) -> list[Member]:
    """The files in an archive, without folders.

    Raises:
        FileNotFoundError: the archive is missing.
        ValueError: it is not a zip archive, or a member is unsafe.
    """
    if not archive.is_file():
        raise FileNotFoundError(
            f"{archive}: no such file; run `dvc pull`, or `dvc import-url` as docs/slides-photos.md describes"
        )
    try:
        with zipfile.ZipFile(archive) as stream:
            members = [Member(archive=archive, info=info) for info in stream.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{archive}: not a zip archive ({archive.stat().st_size} bytes); import the raw file, not its web page"
        ) from error
    for member in members:
        _check_safe(member)
    return members


def _read_member(stream: zipfile.ZipFile, member: Member) -> bytes:
    try:
        return stream.read(member.info)  # reads at most the declared size and verifies the checksum
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{member}: cannot be unpacked ({error}); import the archive again") from error


def _check_safe(member: Member) -> None:
    info, parts = member.info, member.path.parts
    if member.path.is_absolute() or ".." in parts or re.match(r"[A-Za-z]:", parts[0] if parts else ""):
        raise ValueError(f"{member}: points outside the archive, need a relative path without `..`; {REMEDY}")
    if info.flag_bits & 0x1:  # bit 0 means encrypted (PKWARE's APPNOTE.TXT, 4.4.4)
        raise ValueError(f"{member}: encrypted, need unencrypted members; {REMEDY}")
    # The upper 16 bits are the Unix file mode; they are 0 if the archiver wrote none.
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{member}: a link or a device, need a regular file; {REMEDY}")
    if info.file_size > MAX_PHOTO_BYTES:
        raise ValueError(f"{member}: {info.file_size} bytes, need at most {MAX_PHOTO_BYTES}; {REMEDY}")


def _check_label(member: Member, teats: dict[str, Teat]) -> None:
    teat = teats.get(member.path.name)
    if teat is None:
        raise ValueError(
            f"{member}: not one of the {len(teats)} published photos; "
            "remove it, or start a study of your own photos with another preset"
        )
    matches = [match for part in member.path.parent.parts if (match := SCORE_FOLDER.fullmatch(part))]
    if matches and int(matches[-1][1]) != teat.score:
        raise ValueError(
            f"{member}: in a folder of score {matches[-1][1]}, but {LABELS_FILE.name} says {teat.score} "
            f"({teat.label_source}); import the published archive again"
        )


def _check_same_bytes(photos: Iterable[Member]) -> None:
    first: dict[str, Member] = {}
    for member in photos:
        other = first.setdefault(member.path.name, member)
        # Checksums of the archive's directory, so nothing is unpacked to compare.
        if (other.info.CRC, other.info.file_size) != (member.info.CRC, member.info.file_size):
            raise ValueError(f"{member}: differs from {other}; keep the published one of the two")


def _check_complete(archives: Sequence[Path], photos: Iterable[Member], teats: dict[str, Teat]) -> None:
    missing = sorted(set(teats) - {member.path.name for member in photos})
    if missing:
        more = ", ..." if len(missing) > 3 else ""
        raise ValueError(
            f"{', '.join(map(str, archives))}: {len(missing)} of {len(teats)} photos are missing "
            f"({', '.join(missing[:3])}{more}); give all three archives: Train_1.zip, Train_2.zip and Test.zip"
        )
