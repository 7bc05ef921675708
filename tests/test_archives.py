"""Archives of photos: what is unpacked, and what is refused before a byte is written."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sdaug.photos.archives import archive_stem, is_archive, unpack_photos

Build = Callable[[Path], None]


def zipped(*members: tuple[zipfile.ZipInfo | str, bytes], deflate: bool = False) -> Build:
    def build(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as stream:
            for member, content in members:
                stream.writestr(member, content)

    return build


def taped(*members: tarfile.TarInfo, mode: str = "w") -> Build:
    def build(path: Path) -> None:
        with tarfile.open(path, mode) as stream:  # type: ignore[call-overload]
            for member in members:
                stream.addfile(member, io.BytesIO(bytes(member.size)))

    return build


def tape_member(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def cut(build: Build, keep: int) -> Build:
    def damaged(path: Path) -> None:
        build(path)
        content = bytearray(path.read_bytes())
        content[keep] ^= 0xFF
        path.write_bytes(content)

    return damaged


REFUSED: dict[str, tuple[Build, str]] = {
    "a path that leaves the folder": (zipped(("../a.png", b"x")), "'../a.png': points outside the archive"),
    "deeper down": (zipped(("a/../../b.png", b"x")), "points outside"),
    "an absolute path": (zipped(("/a.png", b"x")), "points outside"),
    "a drive": (zipped(("C:/a.png", b"x")), "points outside"),
    "backslashes": (zipped((r"..\\a.png", b"x")), "points outside"),
    "a link": (zipped((zip_link("a.png"), b"/etc/passwd")), "a link or a device"),
    "twice": (zipped(("a.png", b"x"), ("./a.png", b"y")), "twice in the archive"),
    "a bomb": (zipped(("a.png", bytes(2**27)), deflate=True), "over 50 times its size"),
    "no photos": (zipped(("a.txt", b"x")), "no photos .* in 1 files"),
    "damaged": (cut(zipped(("a.png", b"xyz")), 36), "cannot be unpacked .*CRC"),
    "tar: a path that leaves the folder": (taped(tape_member("../a.png")), "points outside"),
    "tar: an absolute path": (taped(tape_member("/a.png")), "points outside"),
    "tar: a link": (taped(tape_member("a.png", 0, tarfile.SYMTYPE, "/etc/passwd")), "a link or a device"),
    "tar: a hard link": (taped(tape_member("a.png", 0, tarfile.LNKTYPE, "/etc/passwd")), "a link or a device"),
    "tar: a device": (taped(tape_member("a.png", 0, tarfile.CHRTYPE)), "a link or a device"),
    "tar: a bomb": (taped(tape_member("a.png", 2**27), mode="w:xz"), "over 50 times its size"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_unsafe_archives_are_refused_and_nothing_leaves_the_folder(tmp_path: Path, build: Build, message: str) -> None:
    archive, out = tmp_path / "set", tmp_path / "inner/out"
    out.mkdir(parents=True)
    build(archive)
    with pytest.raises(ValueError, match=message):
        unpack_photos(archive, out)
    assert {path.name for path in tmp_path.rglob("*")} - {"a.png"} == {"set", "inner", "out"}
    assert all(path.is_relative_to(out) for path in tmp_path.rglob("*.png"))


def test_only_photos_are_unpacked(tmp_path: Path) -> None:
    zipped(("a/b.PNG", b"one"), ("__MACOSX/a/b.png", b"x"), ("a/.b.png", b"x"), ("run.py", b"x"))(tmp_path / "set")
    assert unpack_photos(tmp_path / "set", tmp_path) == 3
    assert (tmp_path / "a/b.PNG").read_bytes() == b"one" and not (tmp_path / "run.py").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_of_any_compression_are_unpacked(tmp_path: Path, mode: str) -> None:
    taped(tape_member("a/b.png", 5), mode=mode)(tmp_path / "set")
    assert is_archive(tmp_path / "set") and unpack_photos(tmp_path / "set", tmp_path) == 0
    assert (tmp_path / "a/b.png").read_bytes() == bytes(5)


def test_an_archive_that_no_disk_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped(("a.png", bytes(2**20)))(tmp_path / "set")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**19}))
    with pytest.raises(ValueError, match=r"unpacks to 1 MiB, but .* has 0 MiB free; make room"):
        unpack_photos(tmp_path / "set", tmp_path)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", ["leaves.zip", "leaves.tar", "leaves.tar.gz", "leaves.TGZ", "leaves"])
def test_the_stem_of_an_archive(name: str) -> None:
    assert archive_stem(Path(name)) == "leaves"
