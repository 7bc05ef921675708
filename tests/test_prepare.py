import dataclasses
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdaug.common.files import read_csv
from sdaug.common.images import read_png
from sdaug.common.manifest import read_manifest
from sdaug.photos import decode
from sdaug.photos.params import PrepareParams
from sdaug.photos.prepare import CopyLimits
from sdaug.photos.prepare import prepare as prepare_within
from sdaug.photos.prepare_summary import describe

ROOT = Path(__file__).parents[1]
CLASSES = ["score_1", "score_2"]
SEED = 2571  # with which no class of the fixture `raw` misses a part
KNOBS: dict[str, Any] = {
    "size_pixels": 32,
    "square": "crop",
    "sixteen_bit_maximum": None,
    "group_pattern": None,
    "groups": None,
    "group_copies": True,
    "class_names": {},
    "class_level": 1,
    "labels": None,
    "left_out": [],
    "ignore": [],
    "split": "made",
    "test_fraction": 0.25,
    "num_folds": 3,
    "min_images": 3,
    "max_broken_fraction": 0.0,
    "seed": SEED,
}
LIMITS = CopyLimits(hash_distance=12, copy_correlation=0.9)


def prepare(params: PrepareParams, classes: list[str], out_dir: Path, **options: Any) -> dict[str, Any]:
    """Prepare with the seed that the error offers, if that of `params` leaves a part without a class."""
    try:
        return prepare_within(params, classes, out_dir, limits=LIMITS, **options)
    except ValueError as error:
        offered = re.search(r"set prepare\.seed: (\d+)", str(error))
        if offered is None:
            raise
        params = dataclasses.replace(params, seed=int(offered[1]))
        return prepare_within(params, classes, out_dir, limits=LIMITS, **options)


def section(raw: Path, **changes: Any) -> PrepareParams:
    return PrepareParams(**{"raw": raw, **KNOBS, **changes})


def noise(seed: int, height: int = 32, width: int = 32) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_photos(folder: Path, count: int, seed: int, name: str = "photo_{}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise(seed + i).save(folder / name.format(i))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_photos(tmp_path / "raw/score_1", 24, seed=0)
    write_photos(tmp_path / "raw/score_2", 8, seed=100)
    return tmp_path / "raw"


@pytest.fixture
def raw_given(tmp_path: Path) -> Path:
    for seed, (split, label) in enumerate(itertools.product(("train", "test"), CLASSES)):
        write_photos(tmp_path / "raw" / split / label, 6 if split == "train" else 2, seed=100 * seed)
    return tmp_path / "raw"


def test_each_photo_is_prepared_once_and_named_by_its_file(raw: Path, tmp_path: Path) -> None:
    prepare(section(raw), CLASSES, tmp_path / "out")
    photos = read_manifest(tmp_path / "out")
    assert len({photo.id for photo in photos}) == 32
    assert {path.name for path in (tmp_path / "out/images").iterdir()} == {photo.file_name for photo in photos}
    for photo in photos:
        pixels = read_png(tmp_path / "out/images" / photo.file_name)
        assert pixels.shape == (32, 32, 3)
        assert photo.id == photo.group == photo.sha256[:12]


def test_sha256_is_that_of_the_source_file(raw: Path, tmp_path: Path) -> None:
    prepare(section(raw), CLASSES, tmp_path / "out")
    sources = {(p.parent.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in raw.rglob("*.png")}
    assert {(photo.label, photo.sha256) for photo in read_manifest(tmp_path / "out")} == sources


def places(out_dir: Path) -> dict[str, tuple[str, int]]:
    return {photo.sha256: (photo.split, photo.fold) for photo in read_manifest(out_dir)}


@pytest.mark.parametrize("change", [{"size_pixels": 64}, {"square": "pad"}, {"square": "stretch"}])
def test_another_size_or_square_moves_no_photo_and_changes_no_id(
    raw: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    noise(100, 48, 64).save(raw / "score_1/wide.png")
    prepare(section(raw), CLASSES, tmp_path / "out")
    prepare(section(raw, **change), CLASSES, tmp_path / "other")
    for name in ("manifest.csv", "copies.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_ten_more_photos_move_no_photo(raw: Path, tmp_path: Path) -> None:
    prepare(section(raw), CLASSES, tmp_path / "out")
    write_photos(raw / "score_2", 10, seed=900, name="new_{}.png")
    prepare(section(raw), CLASSES, tmp_path / "more")
    before, after = places(tmp_path / "out"), places(tmp_path / "more")
    assert {sha256: after[sha256] for sha256 in before} == before and len(after) == len(before) + 10


def test_photos_that_are_equal_only_when_small_are_two(raw: Path, tmp_path: Path) -> None:
    pixels = np.asarray(noise(500, 320, 320)).copy()
    for n in range(2):
        pixels[160, 160] = n
        Image.fromarray(pixels).save(raw / f"score_1/large_{n}.png")
    report = prepare(section(raw), CLASSES, tmp_path / "out")
    assert report["num_duplicates"] == 0 and report["num_near_copies"] == 1
    assert len({photo.group for photo in read_manifest(tmp_path / "out")}) == 33  # of 34 photos


def smooth(seed: int) -> Image.Image:
    return noise(seed, 8, 8).resize((64, 64), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("is_on", [True, False])
def test_photos_that_look_alike_are_one_group(raw: Path, tmp_path: Path, is_on: bool) -> None:
    for n in range(8):
        smooth(700 + n).save(raw / f"score_1/smooth_{n}.jpg", quality=95)
        smooth(700 + n).rotate(90 * (n % 2)).save(raw / f"score_1/again_{n}.jpg", quality=50)
    report = prepare(section(raw, group_copies=is_on), CLASSES, tmp_path / "out", names_file=tmp_path / "names.csv")
    files = {row["id"]: row["file"][-5] for row in read_csv(tmp_path / "names.csv") if "/photo_" not in row["file"]}
    photos = [photo for photo in read_manifest(tmp_path / "out") if photo.id in files]
    assert report["num_near_copies"] == 8 and len({photo.group for photo in photos}) == (8 if is_on else 16)
    crossing = len({(files[photo.id], photo.split, photo.fold) for photo in photos}) - 8
    assert (crossing == 0) == is_on and report["largest_group"] == (2 if is_on else 1)


def test_looks_and_names_make_one_group_together(tmp_path: Path) -> None:
    write_photos(tmp_path / "raw/score_2", 8, seed=0, name="d{}_.png")
    write_photos(tmp_path / "raw/score_1", 8, seed=100, name="c{}_.png")
    smooth(1).save(tmp_path / "raw/score_1/a_1.png")
    smooth(1).save(tmp_path / "raw/score_1/b_1.jpg", quality=60)
    smooth(2).save(tmp_path / "raw/score_1/b_2.png")
    prepare(section(tmp_path / "raw", group_pattern="^([a-z]+[0-9]*)_"), CLASSES, tmp_path / "out")
    groups = Counter(photo.group for photo in read_manifest(tmp_path / "out"))
    assert groups[hashlib.sha256(b"a").hexdigest()[:8]] == 3 and len(groups) == 17


def test_no_group_crosses_a_fold_or_the_test_set(tmp_path: Path) -> None:
    for i, (cow, side) in enumerate(itertools.product(range(12), "LR")):
        folder = tmp_path / "raw" / CLASSES[(cow + (side == "R")) % 2]
        folder.mkdir(parents=True, exist_ok=True)
        noise(i).save(folder / f"cow{cow}_{side}.png")
    report = prepare(section(tmp_path / "raw", min_images=3, group_pattern="^(.*)_[LR]"), CLASSES, tmp_path / "out")
    photos = read_manifest(tmp_path / "out")
    assert {photo.group for photo in photos} == {hashlib.sha256(f"cow{i}".encode()).hexdigest()[:8] for i in range(12)}
    assert len({(photo.group, photo.split, photo.fold) for photo in photos}) == report["num_groups"] == 12
    assert report["num_test_images_sharing_a_group_with_training"] == 0


def test_a_pattern_without_a_capture_group_gives_its_whole_match(raw: Path, tmp_path: Path) -> None:
    report = prepare(section(raw, group_pattern=r"\d+"), CLASSES, tmp_path / "out")
    assert report["num_groups"] == 24


def test_a_given_split_is_kept(raw_given: Path, tmp_path: Path) -> None:
    report = prepare(section(raw_given, split="given", group_pattern=r"\d+"), CLASSES, tmp_path / "out")
    by_hash = {hashlib.sha256(p.read_bytes()).hexdigest(): p.parts[-3] for p in raw_given.rglob("*.png")}
    photos = read_manifest(tmp_path / "out")
    assert all(photo.split == by_hash[photo.sha256] and (photo.fold < 0) == (photo.split == "test") for photo in photos)
    assert report["num_test_images_sharing_a_group_with_training"] == 4


def test_a_given_validation_set_is_the_first_fold(raw_given: Path, tmp_path: Path) -> None:
    (raw_given / "train").rename(raw_given / "Training")
    for k, label in enumerate(CLASSES):
        write_photos(raw_given / "valid" / label, 2, seed=1000 + 100 * k)
    noise(0).save(raw_given / "valid/score_1/copy.bmp")  # of a training photo, which has to go
    report = prepare(section(raw_given, split="given"), CLASSES, tmp_path / "out")
    by_hash = {hashlib.sha256(p.read_bytes()).hexdigest(): p.parts[-3] for p in raw_given.rglob("*.*")}
    folds = {(by_hash[photo.sha256], photo.fold) for photo in read_manifest(tmp_path / "out")}
    assert folds == {("Training", 1), ("Training", 2), ("valid", 0), ("test", -1)}
    assert report["duplicates"] == {"train.score_1": 1}


def test_a_validation_set_without_a_class_is_refused(raw_given: Path, tmp_path: Path) -> None:
    write_photos(raw_given / "val/score_1", 2, seed=1000)
    (raw_given / "val/score_2").mkdir()
    with pytest.raises(ValueError, match=r"val/score_2: 0 images, need at least 1; .* --drop score_2"):
        prepare(section(raw_given, split="given"), CLASSES, tmp_path / "out")


def test_two_folds_of_which_one_is_given(raw_given: Path, tmp_path: Path) -> None:
    for k, label in enumerate(CLASSES):
        write_photos(raw_given / "val" / label, 2, seed=1000 + 100 * k)
    prepare(section(raw_given, split="given", num_folds=2), CLASSES, tmp_path / "out")
    assert Counter(photo.fold for photo in read_manifest(tmp_path / "out")) == {-1: 4, 0: 4, 1: 12}


def test_a_made_split_pools_train_and_test_folders(raw_given: Path, tmp_path: Path) -> None:
    report = prepare(section(raw_given), CLASSES, tmp_path / "out")
    assert [report[f"{s}.{c}"] for s in ("train", "test") for c in CLASSES] == [6, 6, 2, 2]


def test_file_names_and_order_change_nothing(raw: Path, tmp_path: Path) -> None:
    prepare(section(raw), CLASSES, tmp_path / "out")
    for path in raw.rglob("*.png"):
        path.rename(path.with_name(f"{hashlib.sha256(path.name.encode()).hexdigest()}.PNG"))
    prepare(section(raw), CLASSES, tmp_path / "again")
    assert (tmp_path / "out/manifest.csv").read_bytes() == (tmp_path / "again/manifest.csv").read_bytes()


def test_with_a_seed_that_leaves_a_part_without_a_class_a_photo_is_moved_there(raw: Path, tmp_path: Path) -> None:
    prepare_within(section(raw, seed=7), CLASSES, tmp_path / "out", limits=LIMITS)
    held = {(photo.label, photo.fold) for photo in read_manifest(tmp_path / "out")}
    assert held == {(label, fold) for label in CLASSES for fold in range(-1, 3)}


def test_a_copy_within_a_class_is_kept_once_and_in_the_test_set(raw_given: Path, tmp_path: Path) -> None:
    noise(100 * 2).save(raw_given / "train/score_1/copy.bmp")  # the first test photo of score_1
    report = prepare(section(raw_given, split="given"), CLASSES, tmp_path / "out")
    assert [report["num_duplicates"], report["train.score_1"], report["test.score_1"]] == [1, 6, 2]
    assert report["duplicates"] == {"train.score_1": 1} and report["num_training_copies_of_test_photos"] == 1


def test_dropped_copies_of_a_made_split_are_counted_where_the_kept_photo_is(raw: Path, tmp_path: Path) -> None:
    noise(100).save(raw / "score_2/copy.bmp")
    report = prepare(section(raw), CLASSES, tmp_path / "out")
    ids = {file_id(raw / "score_2" / name) for name in ("copy.bmp", "photo_0.png")}
    kept = next(photo for photo in read_manifest(tmp_path / "out") if photo.id in ids)
    assert report["duplicates"] == {f"{kept.split}.score_2": 1} and report["num_training_copies_of_test_photos"] == 0


def test_what_was_dropped_is_said_by_part_and_class(raw_given: Path, tmp_path: Path) -> None:
    noise(100 * 2).save(raw_given / "train/score_1/copy.bmp")
    (raw_given / "test/score_2/bad.png").write_bytes(b"")
    (raw_given / "extra").mkdir()
    options = {"split": "given", "max_broken_fraction": 0.5, "left_out": ["extra"]}
    report = prepare(section(raw_given, **options), CLASSES, tmp_path / "out")
    assert describe(report, CLASSES).splitlines() == [
        "         training  test  copies dropped  unreadable",
        "score_1         6     2     1 (train 1)           0",
        "score_2         6     2               0  1 (test 1)",
        "groups: 16, the largest of 1 photos",
        "left out: extra",
        "unreadable: test/score_2/bad.png: empty file",
    ]


def test_names_are_written_apart_from_the_photos_with_those_of_copies(raw: Path, tmp_path: Path) -> None:
    noise(100).save(raw / "score_2/copy.bmp")
    prepare(section(raw), CLASSES, tmp_path / "out", names_file=tmp_path / "names.csv")
    rows = read_csv(tmp_path / "names.csv")
    assert {row["file"] for row in rows} == {p.relative_to(raw).as_posix() for p in raw.rglob("*.*") if p.is_file()}
    assert {row["id"] for row in rows} == {photo.id for photo in read_manifest(tmp_path / "out")}
    names = ("score_2/copy.bmp", "score_2/photo_0.png")
    kept = min(names, key=lambda name: file_id(raw / name))  # and it comes first
    assert [row["file"] for row in rows if row["file"] in names] == sorted(names, key=lambda name: name != kept)
    assert {row["id"] for row in rows if row["file"] in names} == {file_id(raw / kept)}


def file_id(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "empty file"),
        ("text", "not a JPEG, PNG, .* or DICOM image"),
        ("truncated", "truncated"),
        ("small", "15 x 40 pixels, need at least 16 on each side"),
        ("bomb", r"80 x 80 pixels in .* bytes could be a decompression bomb"),
        ("large", r"120 x 120 pixels, need at most 0 million"),
    ],
)
class TestUnusablePhoto:
    @pytest.fixture
    def spoiled(self, raw: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name, limit in {"FREE_PIXELS": 2000, "MAX_PIXELS_PER_BYTE": 0, "MAX_PIXELS": 10_000}.items():
            monkeypatch.setattr(decode, name, limit)
        path = raw / "score_1/spoiled.jpg"
        sizes = {"small": (40, 15), "bomb": (80, 80), "large": (120, 120)}
        noise(7, *sizes.get(kind, (32, 32))).save(path)
        contents = {"empty": b"", "text": b"not a picture", "truncated": path.read_bytes()[:900]}
        path.write_bytes(contents.get(kind, path.read_bytes()))
        return raw

    def test_is_an_error_that_names_file_reason_and_knob(self, spoiled: Path, tmp_path: Path, reason: str) -> None:
        rule = f"1 of 25 photos of score_1 cannot be used: .*spoiled.jpg .*{reason}.*; .*max_broken_fraction"
        with pytest.raises(ValueError, match=rule):
            prepare(section(spoiled), CLASSES, tmp_path / "out")

    def test_is_left_out_and_listed_when_tolerated(self, spoiled: Path, tmp_path: Path, reason: str) -> None:
        report = prepare(section(spoiled, max_broken_fraction=0.2), CLASSES, tmp_path / "out")
        assert report["num_broken"] == len(report["broken"]) == 1
        assert re.match(f"score_1/spoiled.jpg: .*{reason}", report["broken"][0])
        assert len(read_manifest(tmp_path / "out")) == 32


@pytest.mark.parametrize("classes", [["score_1"], ["score_1", "score_1"]])
def test_fewer_than_two_different_classes_are_refused(raw: Path, tmp_path: Path, classes: list[str]) -> None:
    with pytest.raises(ValueError, match="params.yaml: classes: .*; need two or more different names"):
        prepare(section(raw), classes, tmp_path / "out")


def test_a_class_that_broken_photos_leave_without_a_test_image_is_refused(raw_given: Path, tmp_path: Path) -> None:
    for path in (raw_given / "test/score_2").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="raw: no image of score_2 in the test set; add images"):
        prepare(section(raw_given, split="given", max_broken_fraction=0.5), CLASSES, tmp_path / "out")


def test_a_given_split_needs_train_and_test_folders(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train: no photos, but prepare.split in params.yaml is given; .* made"):
        prepare(section(raw, split="given"), CLASSES, tmp_path / "out")


def test_a_given_test_folder_without_photos_is_refused(raw_given: Path, tmp_path: Path) -> None:
    for path in (raw_given / "test/score_2").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="test/score_2: 0 images, need at least 1"):
        prepare(section(raw_given, split="given"), CLASSES, tmp_path / "out")


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_images_are_refused(raw: Path, tmp_path: Path, count: int) -> None:
    for path in sorted((raw / "score_2").iterdir())[count:]:
        path.unlink()
    with pytest.raises(ValueError, match=f"score_2: {count} images, need at least 3; .* prepare.min_images"):
        prepare(section(raw), CLASSES, tmp_path / "out")


def test_too_few_training_images_after_the_split_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="score_2: . training images, need at least 8; no seed helps: .* prepare.min_images"
    ):
        prepare(section(raw, min_images=8), CLASSES, tmp_path / "out")


def test_fewer_groups_than_folds_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="score_1: images of 1 groups, need at least 4, one .* prepare.num_folds"):
        prepare(section(raw, group_pattern="photo"), CLASSES, tmp_path / "out")


def test_a_name_outside_the_group_pattern_is_refused_before_any_decoding(raw: Path, tmp_path: Path) -> None:
    (raw / "score_1/other.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"prepare.group_pattern .* finds no group in score_1/other.png"):
        prepare(section(raw, group_pattern=r"\d+"), CLASSES, tmp_path / "out")


def test_all_pictures_in_two_classes_are_named_at_once(raw: Path, tmp_path: Path) -> None:
    for n in range(2):
        noise(n).save(raw / f"score_2/same_{n}.bmp")
    named = "; ".join(
        rf"\S*score_1/photo_{n}.png \(score_1\) and \S*score_2/same_{n}.bmp \(score_2\)" for n in range(2)
    )
    with pytest.raises(ValueError, match=f"{named}: the same picture in two classes; .*prepare.ignore"):
        prepare(section(raw), CLASSES, tmp_path / "out")


def test_an_output_that_cannot_be_written_is_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write here"):
        prepare(section(raw), CLASSES, tmp_path / ("x" * 255))


@pytest.mark.parametrize("out", [".", "..", "out"])
def test_an_output_that_overlaps_the_raw_photos_is_refused(raw: Path, out: str) -> None:
    with pytest.raises(ValueError, match="overlaps the raw photos"):
        prepare(section(raw), CLASSES, raw / out)


def test_a_failure_keeps_what_was_there(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.csv").write_text("old")
    (raw / "score_1/empty.png").touch()
    with pytest.raises(ValueError, match="empty file"):
        prepare(section(raw), CLASSES, tmp_path / "out")
    assert (tmp_path / "out/manifest.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"size_pixels": 36}, "size_pixels: 36; need a multiple of 8"),
        ({"test_fraction": 0.6}, "test_fraction: 0.6; need 0.05 to 0.5"),
        ({"num_folds": 1}, "num_folds: 1; need 2 to 20"),
        ({"min_images": 2}, r"min_images: 2; need at least num_folds \(3\)"),
        ({"max_broken_fraction": -1.0}, "max_broken_fraction: -1.0; need 0 to 1"),
        ({"group_pattern": "("}, r"group_pattern: '\('; not a regular expression"),
    ],
)
def test_a_knob_out_of_range_is_refused(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        section(tmp_path, **change)


def run_stage(tmp_path: Path, raw: Path) -> subprocess.CompletedProcess[str]:
    params = {"classes": CLASSES, "prepare": {"raw": str(raw), **KNOBS}, "audit": LIMITS._asdict()}
    (tmp_path / "params.yaml").write_text(json.dumps(params))  # JSON is YAML
    paths = ["--params", tmp_path / "params.yaml", "--out", tmp_path / "out"]
    command = [sys.executable, ROOT / "stages/prepare.py", *paths, "--names", tmp_path / "names.csv"]
    command += ["--report", tmp_path / "report.json"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def test_the_stage_writes_images_manifest_and_report(raw: Path, tmp_path: Path) -> None:
    assert run_stage(tmp_path, raw).returncode == 0
    assert len(read_manifest(tmp_path / "out")) == 32
    assert json.loads((tmp_path / "report.json").read_text())["train.score_1"] == 18


def test_the_stage_ends_with_one_line_on_bad_input(tmp_path: Path) -> None:
    ended = run_stage(tmp_path, tmp_path / "nowhere")
    assert ended.returncode == 1
    assert ended.stderr == f"error: {tmp_path}/nowhere: no such folder; set prepare.raw to a folder of class folders\n"


def test_dark_16_bit_photos_stop_and_the_number_that_mends_it_is_offered(raw: Path, tmp_path: Path) -> None:
    for place, path in enumerate(sorted(path for path in raw.rglob("*") if path.is_file())):
        path.unlink()
        pixels = np.random.default_rng(place).integers(0, 4000, (32, 32)).astype(np.uint16)
        Image.fromarray(pixels).save(path.with_suffix(".png"))
    rule = r"photos with 16 bits has 39\d\d of 65535.*; set prepare.sixteen_bit_maximum: 4095 in params.yaml, or 65535"
    with pytest.raises(ValueError, match=rule):
        prepare(section(raw), CLASSES, tmp_path / "out")
    for number, brightest in ((4095, 249), (65535, 16)):
        out = tmp_path / str(number)
        prepare(section(raw, sixteen_bit_maximum=number), CLASSES, out)
        assert max(read_png(path).max() for path in (out / "images").iterdir()) == pytest.approx(brightest, abs=1)


def test_a_class_that_loses_its_photos_to_a_format_stops(raw: Path, tmp_path: Path) -> None:
    for place in range(3):
        (raw / f"score_1/{place}.CR2").write_bytes(b"raw")
    (raw / "score_1/notes.txt").write_text("none")
    with pytest.raises(ValueError, match=r"3 of 27 photos of score_1 cannot be used: 3 \.cr2, which are not read; rep"):
        prepare(section(raw, max_broken_fraction=0.1), CLASSES, tmp_path / "out")
    report = prepare(section(raw, max_broken_fraction=0.2), CLASSES, tmp_path / "out")
    assert report["unread"] == ["score_1: 3 .cr2 (pictures that are not read), 1 .txt"]
