"""What a stranger's data may hold: each kind of bad input is taken, left and named, or refused by name.

The tables are read by `prepare`, as a study reads them, before anything slow starts. Archives, params, weights and
edited tables have tables of their own in `test_archives.py`, `test_sections.py`, `test_study.py`, `test_models.py`,
`test_pipelines.py` and `test_fuzz.py`.
"""

import functools
import io
import math
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stage_files import PARAMS, READERS, write_stage_files

from sdaug.check.study import check_study
from sdaug.common.images import read_png
from sdaug.common.manifest import read_manifest
from sdaug.common.sections import read_params
from sdaug.common.stage import escape
from sdaug.photos.params import PrepareParams
from sdaug.photos.prepare import CopyLimits
from sdaug.photos.prepare import prepare as prepare_photos
from sdaug.run.survey import survey_folder

CLASSES = ["score_1", "score_2"]
NUM_PHOTOS = 8  # of each class, all different
prepare = partial(prepare_photos, limits=CopyLimits(hash_distance=12, copy_correlation=0.9))


def picture(seed: int = 999, height: int = 40, width: int = 36) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """A PNG file whose header claims a size that its few bytes of pixels do not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(64))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_header(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "JPEG"))
    frame = content.index(b"\xff\xc0") + 5
    content[frame : frame + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp_header(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def upside_down() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(picture(), "PNG", exif=exif)


def moving(kind: str) -> bytes:
    return encoded(picture(), kind, save_all=True, append_images=[picture(1000), picture(1001)])


PALETTE = picture().quantize(32)
GOOD: dict[str, tuple[str, bytes]] = {
    "CMYK": ("a.jpg", encoded(picture().convert("CMYK"), "JPEG")),
    "16 bits": ("a.png", encoded(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40), "PNG")),
    "a palette with transparency": ("a.png", encoded(PALETTE, "PNG", transparency=0)),
    "animated PNG": ("a.png", moving("PNG")),
    "animated WebP": ("a.webp", moving("WEBP")),
    "animated GIF": ("a.gif", moving("GIF")),
    "EXIF-rotated": ("a.png", upside_down()),
    "a suffix of another format": ("a.png", encoded(picture(), "JPEG")),
    "a suffix in capitals": ("A.JPEG", encoded(picture(), "JPEG")),
    "a long panorama": ("a.jpg", encoded(picture(height=20, width=4000), "JPEG")),
    "spaces in the name": ("a b  c.png", encoded(picture(), "PNG")),
    "a line break in the name": ("a\nb.png", encoded(picture(), "PNG")),
    "Unicode in the name": ("牛-é-🐄.png", encoded(picture(), "PNG")),
    "dots in the name": ("a..png..png", encoded(picture(), "PNG")),
    "a comma and quotes in the name": ('a",b.png', encoded(picture(), "PNG")),
    "markup in the name": ("<script>.png", encoded(picture(), "PNG")),
    "a name that looks like an option": ("--out.png", encoded(picture(), "PNG")),
    "a nested folder": ("left/2024/a.png", encoded(picture(), "PNG")),
}

# Those of 30,000 x 30,000 are refused by their headers: the few bytes of pixels after these are never reached, or the
# reason would be that the file is cut.
BROKEN: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "empty file"),
    "not an image": (b"Dear all,\nthe photos follow.\n", "not a JPEG, PNG, WebP, TIFF, BMP, GIF, .* or DICOM image"),
    "a web page": (b"<!doctype html><html></html>", "not a JPEG"),
    "PostScript, which runs": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG"),
    "several pages": (moving("TIFF"), "TIFF of 3 pages, need one; save each as a file of its own"),
    "a PDF": (encoded(picture(), "PDF"), "not a JPEG"),
    "cut in the middle": (encoded(picture(), "JPEG")[:1500], "truncated"),
    "cut in its header": (encoded(picture(), "PNG")[:20], "."),
    "1 x 1": (encoded(picture(height=1, width=1), "PNG"), "1 x 1 pixels, need at least 16 on each side"),
    "a line": (encoded(picture(height=2, width=500), "PNG"), "500 x 2 pixels, need at least 16"),
    "30,000 x 30,000 PNG": (png_header(30_000, 30_000), "need at most 500 million"),
    "30,000 x 30,000 JPEG": (jpeg_header(30_000, 30_000), "need at most 500 million"),
    "30,000 x 30,000 BMP": (bmp_header(30_000, 30_000), "need at most 500 million"),
    "10,000 x 10,000 in few bytes": (png_header(10_000, 10_000), "could be a decompression bomb"),
    "floating point": (encoded(Image.new("F", (20, 20)), "TIFF"), "floating-point pixels"),
    "32 bits": (encoded(Image.fromarray(np.full((20, 20), 70_000, np.int32)), "TIFF"), "exceed 16 bits"),
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for place, label in enumerate(CLASSES):
        (tmp_path / "raw" / label).mkdir(parents=True)
        for number in range(NUM_PHOTOS):
            picture(100 * place + number).save(tmp_path / "raw" / label / f"photo_{number}.png")
    return tmp_path / "raw"


def section(raw: Path, **changes: Any) -> PrepareParams:
    knobs: dict[str, Any] = {"size_pixels": 32, "square": "crop", "group_pattern": None, "split": "made", "seed": 0}
    knobs |= {"test_fraction": 0.25, "num_folds": 3, "min_images": 3, "max_broken_fraction": 0.5}
    knobs |= {"sixteen_bit_maximum": None, "labels": None, "left_out": [], "ignore": [], "groups": None}
    knobs |= {"group_copies": True, "class_names": {}, "class_level": 1}
    return PrepareParams(raw=raw, **knobs | changes)


@pytest.mark.parametrize(("name", "content"), GOOD.values(), ids=GOOD.keys())
def test_photo_is_taken(raw: Path, tmp_path: Path, name: str, content: bytes) -> None:
    path = raw / "score_1" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    report = prepare(section(raw), CLASSES, tmp_path / "out", names_file=tmp_path / "names.csv")
    assert report["broken"] == report["unused"] == []
    photos = read_manifest(tmp_path / "out")
    assert len(photos) == 2 * NUM_PHOTOS + 1
    assert all(read_png(tmp_path / "out/images" / photo.file_name).shape == (32, 32, 3) for photo in photos)
    assert {found.name for found in tmp_path.iterdir()} == {"raw", "out", "names.csv"}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_photo_is_left_and_named_with_the_reason(raw: Path, tmp_path: Path, content: bytes, reason: str) -> None:
    (raw / "score_1" / "bad.png").write_bytes(content)
    report = prepare(section(raw), CLASSES, tmp_path / "out")
    [line] = report["broken"]
    assert line.startswith("score_1/bad.png: ") and "\n" not in line
    assert re.search(reason, line)
    assert len(read_manifest(tmp_path / "out")) == 2 * NUM_PHOTOS
    with pytest.raises(ValueError, match=r"score_1/bad\.png.*max_broken_fraction"):
        prepare(section(raw, max_broken_fraction=0.0), CLASSES, tmp_path / "strict")
    assert not (tmp_path / "strict").exists()


def copy_of_one(raw: Path) -> None:
    shutil.copy(raw / "score_1/photo_0.png", raw / "score_1/again.png")


def hidden_files(raw: Path) -> None:
    for name in (".DS_Store", "._photo_0.png", "Thumbs.db", "desktop.ini", ".cache/a.png", "..a.png"):
        (raw / "score_1" / name).parent.mkdir(exist_ok=True)
        (raw / "score_1" / name).write_bytes(b"x")


def other_files(raw: Path) -> None:
    (raw / "score_1/notes.txt").write_text("x")
    (raw / "labels.csv").write_text("x")


def link_to_a_folder_outside(raw: Path) -> None:
    (raw.parent / "outside").mkdir()
    picture().save(raw.parent / "outside/secret.png")
    (raw / "score_1/link").symlink_to(raw.parent / "outside")


def link_to_nothing(raw: Path) -> None:
    (raw / "score_1/gone.png").symlink_to("/nowhere.png")


def link_to_itself(raw: Path) -> None:
    (raw / "score_1/loop.png").symlink_to("loop.png")


def link_upwards(raw: Path) -> None:
    (raw / "score_1/up").symlink_to("..")


def pipe(raw: Path) -> None:
    os.mkfifo(raw / "score_1/pipe.png")


def name_in_latin_1(raw: Path) -> None:
    shutil.copy(raw / "score_1/photo_0.png", raw / "score_1" / os.fsdecode(b"caf\xe9.png"))


def folder_called_as_a_photo(raw: Path) -> None:
    (raw / "score_1/album.png").mkdir()


LEFT: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "the same image twice": (copy_of_one, {"num_duplicates": 1}),
    "hidden and system files": (hidden_files, {"num_ignored": 0, "unused": []}),
    "files of other kinds": (other_files, {"num_ignored": 2}),
    "a link to a folder outside": (link_to_a_folder_outside, {"unused": ["score_1/link: a link to a folder"]}),
    "a link to nothing": (link_to_nothing, {"unused": ["score_1/gone.png: a link to nothing"]}),
    "a link to itself": (link_to_itself, {"unused": ["score_1/loop.png: a link to nothing"]}),
    "a link upwards": (link_upwards, {"unused": ["score_1/up: a link to a folder"]}),
    "a pipe": (pipe, {"unused": ["score_1/pipe.png: not a regular file"]}),
    "a name that is not UTF-8": (name_in_latin_1, {"unused": ["score_1/caf\\xe9.png: the name is not UTF-8"]}),
    "a folder called as a photo": (folder_called_as_a_photo, {"unused": []}),
}


@pytest.mark.parametrize(("spoil", "expected"), LEFT.values(), ids=LEFT.keys())
def test_what_is_no_photo_is_left_and_counted(
    raw: Path, tmp_path: Path, spoil: Callable[[Path], None], expected: dict[str, Any]
) -> None:
    spoil(raw)
    report = prepare(section(raw), CLASSES, tmp_path / "out")
    report["unused"] = [re.split("[;,]", line)[0] for line in report["unused"]]
    assert {key: report[key] for key in expected} == expected and report["broken"] == []
    assert len(read_manifest(tmp_path / "out")) == 2 * NUM_PHOTOS


def empty_class(raw: Path) -> None:
    (raw / "score_3").mkdir()


def one_class(raw: Path) -> None:
    shutil.rmtree(raw / "score_2")


def photos_without_classes(raw: Path) -> None:
    for label in CLASSES:
        shutil.rmtree(raw / label)
    picture().save(raw / "photo.png")


def same_picture_in_two_classes(raw: Path) -> None:
    shutil.copy(raw / "score_1/photo_0.png", raw / "score_2/other.png")


def unreadable(raw: Path) -> None:
    for path in (raw / "score_2").iterdir():
        path.write_bytes(b"")


REFUSED: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no class": (
        photos_without_classes,
        CLASSES,
        r"raw: folders \(none\), but params.yaml has classes score_1, score_2",
    ),
    "one class": (one_class, CLASSES[:1], "params.yaml: classes: .*; need two or more different names"),
    "a class without a folder": (one_class, CLASSES, r"classes without a folder: score_2\); run `sdaug adopt"),
    "a class without photos": (empty_class, [*CLASSES, "score_3"], "score_3: 0 images, need at least 3"),
    "a folder without a class": (empty_class, CLASSES, r"folders not in `classes`: score_3\); run `sdaug adopt"),
    "a class twice": (copy_of_one, ["score_1", "score_1"], "need two or more different names"),
    "a picture in two classes": (same_picture_in_two_classes, CLASSES, "the same picture in two classes"),
    "a class of broken photos": (
        unreadable,
        CLASSES,
        r"8 of 8 photos of score_2 cannot be used: .*photo_0.png \(empty file\)",
    ),
}


@pytest.mark.parametrize(("spoil", "classes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_folder_is_refused_and_nothing_is_written(
    raw: Path, tmp_path: Path, spoil: Callable[[Path], None], classes: list[str], message: str
) -> None:
    spoil(raw)
    with pytest.raises(ValueError, match=message):
        prepare(section(raw), classes, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


def test_hundred_classes_are_taken(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / "raw" / f"kind {number}").mkdir(parents=True)
        for place in range(4):
            picture(4 * number + place, 32, 32).save(tmp_path / "raw" / f"kind {number}" / f"{place}.png")
    survey = survey_folder(tmp_path / "raw")
    assert len(survey.counts) == 100
    params = section(
        tmp_path / "raw", num_folds=2, min_images=2, split="made", class_names=dict(survey.layout.class_names)
    )
    prepare(params, list(survey.counts), tmp_path / "out")
    photos = read_manifest(tmp_path / "out")
    assert len(photos) == 400 and len({photo.label for photo in photos}) == 100


def test_classes_that_differ_in_case_only_stay_apart(raw: Path, tmp_path: Path) -> None:
    (raw / "score_2").rename(raw / "Score_1")
    survey = survey_folder(raw)
    assert sorted(survey.counts) == ["score_1", "score_1_2"]
    prepare(section(raw, class_names=dict(survey.layout.class_names)), list(survey.counts), tmp_path / "out")
    assert len(read_manifest(tmp_path / "out")) == 2 * NUM_PHOTOS


PARAMS_BYTES: dict[str, tuple[bytes, str]] = {
    "a key twice": (b"seeds: [0]\nseeds: [1]\n", 'line 2: found duplicate key "seeds" .*; remove one'),
    "a value that holds itself": (b"seeds: &a [*a]\n", "does an alias .* stand inside of what it stands for"),
    "a tree of aliases that doubles at each line": (
        b"a: &a [1, 1]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (c, c, c - 1, c - 1) for c in range(98, 114)),
        "more than 100,?000 values",
    ),
    "a tab": (b"seeds:\n\t- 1\n", "found character that cannot start any token .*line 2"),
    "bytes that are not UTF-8": (b"seeds: \xff\n", "(?i)utf-8"),
    "a Python object": (b"seeds: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    "a list": (b"- 1\n", "need"),
    "nothing": (b"", "need"),
    "brackets without an end": (b"[" * 3000, "more than|nested|recursion|expected"),
}


@pytest.mark.parametrize(("content", "message"), PARAMS_BYTES.values(), ids=PARAMS_BYTES.keys())
def test_params_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_params(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in escape(str(caught.value))


PARAMS_VALUES: dict[str, tuple[str, Any, str]] = {
    "no number": ("recipe.momentum", math.nan, "momentum: nan"),
    "infinite": ("recipe.learning_rate", math.inf, "learning_rate: inf"),
    "of another type": ("recipe.steps", "108", "recipe.steps: '108' is a string, need a whole number"),
    "true for a number": ("recipe.steps", True, "recipe.steps: True is a boolean"),
    "out of range": ("recipe.batch_size", 0, "batch_size: 0; need"),
    "misspelt": ("recipe.step", 3, "recipe.step: unknown key"),
    "a class with a path": ("classes", ["../a", "b"], r"classes\.\.\./a"),
    "a class with markup": ("classes", ["<script>", "b"], "need a name of a-z, 0-9 and _ only"),
    "too large for any memory": ("prepare.size_pixels", 10**9, "size_pixels: 1000000000; need"),
}


@pytest.mark.parametrize(("place", "value", "message"), PARAMS_VALUES.values(), ids=PARAMS_VALUES.keys())
def test_params_value_is_refused(place: str, value: Any, message: str) -> None:
    values = read_params(PARAMS)
    *path, key = place.split(".")
    functools.reduce(lambda inner, name: inner[name], path, values)[key] = value
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        check_study(values, PARAMS)
    assert str(caught.value).startswith(str(PARAMS)) and "\n" not in escape(str(caught.value))


Edit = Callable[[bytes], bytes]


def replaced(old: str, new: str) -> Edit:
    def edit(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return edit


def pickled(_: bytes) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


EDITED: dict[str, tuple[str, Edit, str]] = {
    "manifest: a column removed": ("prepared/manifest.csv", replaced("fold,", ""), "fold"),
    "manifest: a word for a number": ("prepared/manifest.csv", replaced(",0,", ",zero,"), "fold.*zero"),
    "manifest: an unknown split": ("prepared/manifest.csv", replaced("train", "exam"), "split.*exam"),
    "manifest: a path for an id": ("prepared/manifest.csv", replaced("000000000000", "../../etc/passwd"), "id.*passwd"),
    "manifest: an id twice": ("prepared/manifest.csv", replaced("000000000001", "000000000000"), "in several rows"),
    "manifest: a cell too many": ("prepared/manifest.csv", replaced("\n0", "\n1,0"), "row 1|line 2"),
    "manifest: emptied": ("prepared/manifest.csv", lambda _: b"", "manifest.csv: "),
    "synthetic: a row of an absent picture": (
        "synthetic/manifest.csv",
        replaced(",1,a photo", ",7,a photo"),
        "seed_0000000007.png: in the manifest but missing",
    ),
    "packed set: a class of another study": ("packed/examples.csv", replaced(",b,", ",c,"), "class 'c' is not in"),
    "packed set: a row removed": ("packed/examples.csv", lambda text: text[: text.rindex(b"\n", 0, -1)], "need uint8"),
    "packed set: cut": ("packed/images.npy", lambda content: content[:200], "damaged"),
    "packed set: a pickle": ("packed/images.npy", pickled, "allow_pickle|damaged"),
    "JSON with a number that is none": ("found.json", replaced("1.5", "NaN"), "NaN"),
    "JSON cut": ("found.json", lambda content: content[:-4], "not JSON"),
    "card: an unknown architecture": (
        "model/config.json",
        replaced("custom", "hf-hub:x"),
        "a name with a source is not taken",
    ),
    "card: an option that runs": ("model/config.json", replaced('"width"', '"__class__"'), "config.json"),
    "weights: cut": ("model/model.safetensors", lambda content: content[:-3], "do not match|damaged"),
    "weights: a pickle": ("model/model.safetensors", pickled, "do not match|damaged"),
    "weights: of another model": ("model/model.safetensors", lambda content: content, "do not match"),
    "weights: a header of 2 ** 62 bytes": (
        "model/model.safetensors",
        lambda content: struct.pack("<Q", 2**62) + content[8:],
        "do not match|damaged",
    ),
}


@pytest.mark.parametrize(("name", "edit", "message"), EDITED.values(), ids=EDITED.keys())
def test_edited_file_is_named(tmp_path: Path, name: str, edit: Edit, message: str) -> None:
    write_stage_files(tmp_path)
    path = tmp_path / name
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        READERS[name](path)
    assert str(caught.value).startswith(str(path.parent)) and "\n" not in escape(str(caught.value))
