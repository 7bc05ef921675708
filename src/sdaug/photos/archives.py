"""Unpacking a zip or tar archive of photos from a stranger: its photos only, and nothing outside its folder."""

import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from sdaug.common.progress import progress
from sdaug.photos.formats import PHOTO_SUFFIXES
from sdaug.photos.tree import SYSTEM_FILES

# Photos hardly get smaller in an archive. Text that unpacks to thousands of times its size is a bomb.
MAX_RATIO = 50
SMALL_BYTES = 2**26  # below this, whatever the ratio
MAX_FILES = 1_000_000
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class Entry(NamedTuple):
    """A file in an archive, not yet read."""

    name: str
    size: int
    is_regular: bool
    is_encrypted: bool
    member: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar archive, by its first bytes."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def archive_stem(path: Path) -> str:
    """The name of an archive without the suffixes of its kind."""
    return re.sub(r"(\.tar)?\.(zip|tar|tgz|gz|bz2|xz)$", "", path.name, flags=re.IGNORECASE)


def unpack_photos(archive: Path, out_dir: Path) -> int:
    """Write the photos of an archive below `out_dir`; returns the number of other files, which are left.

    Raises:
        ValueError: the archive is damaged, unsafe, or larger than the disk; nothing outside `out_dir` was written.
    """
    try:
        with _open(archive) as stream:
            entries = list(_entries(stream, archive))
            photos = [entry for entry in entries if _is_photo(entry.name)]
            for entry in photos:
                _check_entry(entry, archive)
            _check_size(photos, archive, out_dir)
            for entry in progress(photos, title=f"unpack {archive.name}", total=len(photos), unit="photo"):
                _write(stream, entry, archive, out_dir)
    except DAMAGED as error:
        raise ValueError(f"{archive}: cannot be unpacked ({error}); get it again") from error
    if not photos:
        raise ValueError(f"{archive}: no photos ({', '.join(sorted(PHOTO_SUFFIXES))}) in {len(entries)} files")
    return len(entries) - len(photos)


def path_fault(path: PurePosixPath) -> str | None:
    """Why a path in an archive is unsafe, or None."""
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", path.parts[0] if path.parts else ""):
        return "points outside the archive, need a relative path without `..`"
    return None


@contextmanager
def _open(archive: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield packed
    else:
        with tarfile.open(archive) as tape:
            yield tape


def _entries(stream: zipfile.ZipFile | tarfile.TarFile, archive: Path) -> Iterator[Entry]:
    """All files, without folders."""
    if isinstance(stream, zipfile.ZipFile):
        for info in stream.infolist():
            # The upper 16 bits are the Unix file mode; they are 0 if the archiver wrote none. Flag 1 means encrypted
            # (PKWARE's APPNOTE.TXT, 4.4.4).
            is_regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            if not info.is_dir():
                yield Entry(info.filename, info.file_size, is_regular, bool(info.flag_bits & 0x1), info)
        return
    # A tar archive has no directory: to count its files is to unpack it, so the limits hold while it is read.
    total = 0
    for number, member in enumerate(stream):
        total += member.size
        _check_limits(number, total, archive)
        if not member.isdir():
            yield Entry(member.name, member.size, member.isreg(), False, member)


def _check_entry(entry: Entry, archive: Path) -> None:
    where = f"{archive}: {entry.name!r}"
    fault = path_fault(_path(entry.name))
    if fault:
        raise ValueError(f"{where}: {fault}; do not trust this archive")
    if not entry.is_regular:
        raise ValueError(f"{where}: a link or a device, need regular files; pack the photos themselves")
    if entry.is_encrypted:
        raise ValueError(f"{where}: encrypted; unpack the archive yourself and give its folder")


def _check_size(photos: list[Entry], archive: Path, out_dir: Path) -> None:
    total = sum(entry.size for entry in photos)
    _check_limits(len(photos), total, archive)
    free = shutil.disk_usage(out_dir).free
    if total > free:
        raise ValueError(
            f"{archive}: unpacks to {total / 2**20:.0f} MiB, but {out_dir.parent} has {free / 2**20:.0f} MiB free; "
            "make room, or unpack it elsewhere and give its folder"
        )


def _check_limits(num_files: int, total: int, archive: Path) -> None:
    size = archive.stat().st_size
    if num_files > MAX_FILES:
        raise ValueError(f"{archive}: more than {MAX_FILES} files; unpack it yourself and give its folder")
    if total > max(SMALL_BYTES, MAX_RATIO * size):
        raise ValueError(
            f"{archive}: unpacks to {total} bytes or more, over {MAX_RATIO} times its size ({size}); do not trust this "
            "archive, or unpack it yourself and give its folder"
        )


def _write(stream: zipfile.ZipFile | tarfile.TarFile, entry: Entry, archive: Path, out_dir: Path) -> None:
    target = out_dir / _path(entry.name)
    if target.exists():
        raise ValueError(f"{archive}: {entry.name!r}: twice in the archive; pack each photo once")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _read(stream, entry) as source, target.open("wb") as sink:
        left = entry.size  # no more than declared: a zip's directory can lie
        while left > 0 and (chunk := source.read(min(left, 2**20))):
            sink.write(chunk)
            left -= len(chunk)
    if left:
        raise ValueError(f"{archive}: {entry.name!r}: ends {left} bytes early; get the archive again")


def _read(stream: zipfile.ZipFile | tarfile.TarFile, entry: Entry) -> IO[bytes]:
    if isinstance(stream, zipfile.ZipFile):
        assert isinstance(entry.member, zipfile.ZipInfo)
        return stream.open(entry.member)
    assert isinstance(entry.member, tarfile.TarInfo)
    source = stream.extractfile(entry.member)
    assert source is not None, "not a regular file"
    return source


def _path(name: str) -> PurePosixPath:
    # Some Windows tools write backslashes.
    return PurePosixPath(name.replace("\\", "/"))


def _is_photo(name: str) -> bool:
    parts = _path(name).parts
    is_hidden = any((part.startswith(".") and part != "..") or part.lower() in SYSTEM_FILES for part in parts)
    return not is_hidden and _path(name).suffix.lower() in PHOTO_SUFFIXES
