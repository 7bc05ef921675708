"""The published photos: their table, and unpacking of archives with the same layout but tiny images."""

import io
import os
import re
import stat
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from sdaug.photos.teats import GROUP_PATTERN, MAX_PHOTO_BYTES, Teat, read_labels, unpack_teats

ROOT = Path(__file__).resolve().parents[1]
ARCHIVES = ("Train_1.zip", "Train_2.zip", "Test.zip")
PUBLISHED = {
    "train/score_1": 450,
    "train/score_2": 491,
    "train/score_3": 187,
    "train/score_4": 21,
    "test/score_1": 149,
    "test/score_2": 163,
    "test/score_3": 62,
    "test/score_4": 6,
}


def tiny_jpeg(name: str) -> bytes:
    """A different image for each name."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), tuple(name.encode()[-8:-5])).save(stream, format="JPEG", comment=name.encode())
    return stream.getvalue()


def home(teat: Teat) -> tuple[str, str]:
    """The archive and the member name of a photo."""
    if teat.split == "test":
        return "Test.zip", f"Test/{teat.file}"
    return ("Train_1.zip" if teat.score <= 2 else "Train_2.zip"), f"Score_{teat.score}/{teat.file}"


def write_archives(folder: Path, table: list[Teat]) -> list[Path]:
    """The three archives, with folder entries as in the published ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ARCHIVES:
        homes = [(home(teat)[1], teat.file) for teat in table if home(teat)[0] == name]
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as stream:
            for parent in sorted({member.split("/")[0] for member, _ in homes}):
                stream.writestr(f"{parent}/", b"")
            for member, file in homes:
                stream.writestr(member, tiny_jpeg(file))
    return [folder / name for name in ARCHIVES]


def append(archive: Path, member: str | zipfile.ZipInfo, content: bytes) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr(member, content)


@pytest.fixture(scope="module")
def table() -> list[Teat]:
    return read_labels()


@pytest.fixture
def few(table: list[Teat]) -> list[Teat]:
    """One photo per split and score, and a photo whose name gives neither teat nor score."""
    first = {(teat.split, teat.score): teat for teat in reversed(table)}
    nameless = next(teat for teat in table if teat.label_source.startswith("inferred"))
    return [*first.values(), nameless]


@pytest.fixture
def archives(tmp_path: Path, few: list[Teat]) -> list[Path]:
    return write_archives(tmp_path / "archives", few)


def test_the_table_has_the_published_counts(table: list[Teat]) -> None:
    assert Counter(f"{teat.split}/score_{teat.score}" for teat in table) == PUBLISHED


def test_no_file_name_stands_twice_in_the_table(table: list[Teat]) -> None:
    assert len({teat.file.lower() for teat in table}) == len(table) == 1529


def test_exactly_two_labels_are_inferred(table: list[Teat]) -> None:
    inferred = [teat.file for teat in table if teat.label_source == "inferred_from_published_accuracies"]
    assert inferred == ["R10_0799_9_crop_2.jpg", "R10_0801_11_crop_1.jpg"]


def test_labels_agree_with_the_names_that_say_one(table: list[Teat]) -> None:
    said = {teat.file: match for teat in table if (match := re.search(r"_C(\d)_", teat.file))}
    assert len(said) == 1523
    assert all(int(said[teat.file][1]) == teat.score for teat in table if teat.file in said)


def test_the_pattern_finds_the_udder_photo_of_every_name(table: list[Teat]) -> None:
    matches = [re.match(GROUP_PATTERN, teat.file) for teat in table]
    assert [match and match["group"] for match in matches] == [teat.udder_group for teat in table]


def test_371_of_the_380_test_photos_share_their_udder_photo_with_training(table: list[Teat]) -> None:
    training = {teat.udder_group for teat in table if teat.split == "train"}
    assert sum(teat.split == "test" and teat.udder_group in training for teat in table) == 371


def test_photos_land_in_folders_by_split_and_score(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    unpack_teats(archives, tmp_path / "out", table=few)
    written = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.jpg")}
    assert set(written) == {f"{teat.split}/score_{teat.score}/{teat.file}" for teat in few}
    assert all(path.read_bytes() == tiny_jpeg(path.name) for path in written.values())


def test_counts_are_those_of_the_files_written(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    counts = unpack_teats(archives, tmp_path / "out", table=few)
    assert counts.pop("skipped") == 0
    assert counts == {name: len(list((tmp_path / "out" / name).iterdir())) for name in counts}


def test_the_order_and_the_layout_of_the_archives_do_not_matter(tmp_path: Path, few: list[Teat]) -> None:
    archive = tmp_path / "all.zip"
    for teat in few:
        append(archive, f"some/other/folder/{teat.file}", tiny_jpeg(teat.file))
    write_archives(tmp_path / "three", few)
    by_name = [tmp_path / "three" / name for name in reversed(ARCHIVES)]
    one, three = (unpack_teats(paths, tmp_path / "out", table=few) for paths in ([archive], by_name))
    assert one == three


@pytest.mark.parametrize(
    "member", ["__MACOSX/Score_1/._a.jpg", "Score_1/.DS_Store", ".hidden/a.jpg", "Thumbs.db", "notes.txt"]
)
def test_what_is_no_photo_is_skipped_and_counted(
    tmp_path: Path, archives: list[Path], few: list[Teat], member: str
) -> None:
    append(archives[0], member, b"no photo")
    assert unpack_teats(archives, tmp_path / "out", table=few)["skipped"] == 1
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == len(few)


def test_a_photo_twice_with_the_same_bytes_is_taken_once(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    before = unpack_teats(archives, tmp_path / "out", table=few)
    append(archives[2], f"copy/{few[0].file}", tiny_jpeg(few[0].file))
    assert unpack_teats(archives, tmp_path / "again", table=few) == before


def test_a_missing_archive_is_named_with_the_way_out(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    archives[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"Train_2\.zip: no such file; run `dvc pull`, or `dvc import-url`"):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_a_web_page_in_place_of_an_archive_is_refused(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    archives[0].write_text("<html>")
    with pytest.raises(ValueError, match=r"Train_1\.zip: not a zip archive \(6 bytes\); import the raw file"):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_a_photo_that_the_table_lacks_is_refused(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    append(archives[0], "Score_1/cat.jpg", b"x")
    with pytest.raises(ValueError, match=r"Train_1\.zip: Score_1/cat\.jpg: not one of the 9 published photos; remove"):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_missing_photos_are_counted_and_the_first_three_named(
    tmp_path: Path, archives: list[Path], few: list[Teat]
) -> None:
    names = sorted(teat.file for teat in few if teat.split == "test")[:3]
    said = rf"5 of 9 photos are missing \({', '.join(map(re.escape, names))}, \.\.\.\); give all three archives"
    with pytest.raises(ValueError, match=said):
        unpack_teats(archives[:2], tmp_path / "out", table=few)


def test_a_photo_twice_with_other_bytes_is_refused(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    append(archives[0], f"copy/{few[0].file}", b"other")
    with pytest.raises(
        ValueError,
        match=r"Test\.zip: .*: differs from .*Train_1\.zip: copy/.*; keep the published one of the two",
    ):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_a_folder_that_disagrees_with_the_table_is_refused(tmp_path: Path, few: list[Teat]) -> None:
    teat = next(teat for teat in few if (teat.split, teat.score) == ("train", 1))
    append(tmp_path / "Train_1.zip", f"data/Score_2/{teat.file}", b"x")
    with pytest.raises(ValueError, match=r"in a folder of score 2, but teats_labels\.csv says 1 \(folder\); import"):
        unpack_teats([tmp_path / "Train_1.zip"], tmp_path / "out", table=few)


@pytest.mark.parametrize("member", ["/a.jpg", "../a.jpg", "Score_1/../../a.jpg", "..\\a.jpg", "C:\\a.jpg"])
def test_a_path_out_of_the_archive_is_refused(
    tmp_path: Path, archives: list[Path], few: list[Teat], member: str
) -> None:
    append(archives[0], member, b"x")
    with pytest.raises(ValueError, match=r"Train_1\.zip: .*a\.jpg: points outside the archive, need a relative path"):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_an_encrypted_member_is_refused(tmp_path: Path, few: list[Teat]) -> None:
    archive = tmp_path / "Train_1.zip"
    append(archive, f"Score_1/{few[0].file}", b"x")
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the encryption flag in the central directory
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"\.jpg: encrypted, need unencrypted members; import the published archive"):
        unpack_teats([archive], tmp_path / "out", table=few)


def test_a_link_is_refused(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    link = zipfile.ZipInfo("Score_1/a.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    append(archives[0], link, b"/etc/hosts")
    with pytest.raises(ValueError, match=r"Score_1/a\.jpg: a link or a device, need a regular file"):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_an_absurd_size_is_refused_before_it_is_unpacked(tmp_path: Path, archives: list[Path], few: list[Teat]) -> None:
    append(archives[0], f"Score_1/{few[0].file}.jpg", bytes(MAX_PHOTO_BYTES + 1))
    with pytest.raises(ValueError, match=rf"{MAX_PHOTO_BYTES + 1} bytes, need at most {MAX_PHOTO_BYTES}"):
        unpack_teats(archives, tmp_path / "out", table=few)


def test_a_damaged_member_is_named(tmp_path: Path, few: list[Teat]) -> None:
    archive, content = tmp_path / "Train_1.zip", b"content of a photo"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stream:
        stream.writestr(few[0].file, content)
    archive.write_bytes(archive.read_bytes().replace(content, content.upper()))
    with pytest.raises(ValueError, match=rf"{re.escape(few[0].file)}: cannot be unpacked \(Bad CRC-32.*; import"):
        unpack_teats([archive], tmp_path / "out", table=few[:1])


def run_teats_stage(folder: Path, *archives: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "stages" / "teats.py"), "--out", "data/teats", *archives]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_the_stage_ends_with_one_line_and_leaves_nothing_on_a_wrong_archive(tmp_path: Path) -> None:
    (tmp_path / "Test.zip").write_text("<html>")
    ended = run_teats_stage(tmp_path, "Test.zip")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("error: Test.zip: not a zip archive")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["Test.zip", "data"]


class Handler(SimpleHTTPRequestHandler):
    """Serves files with an ETag, as GitHub does; DVC uses it to detect new versions."""

    def end_headers(self) -> None:
        self.send_header("ETag", f'"{Path(self.translate_path(self.path)).stat().st_size}"')
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, table: list[Teat]) -> Iterator[str]:
    """URL of a server with archives that contain all 1529 names."""
    write_archives(tmp_path / "served", table)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def test_imported_archives_become_the_published_photos(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    (study / "data" / "archives").mkdir(parents=True)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site_cache"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=study, check=True)

    subprocess.run(["git", "init", "-q"], cwd=study, check=True)
    dvc("init")
    for name in ARCHIVES:
        dvc("import-url", f"{server}/{name}", f"data/archives/{name}")
    ended = run_teats_stage(study, *(f"data/archives/{name}" for name in ARCHIVES))

    assert ended.stderr == ""
    assert ended.stdout == ", ".join(f"{key}: {n}" for key, n in (PUBLISHED | {"skipped": 0}).items()) + "\n"
    assert {key: len(list((study / "data/teats" / key).iterdir())) for key in PUBLISHED} == PUBLISHED
