"""Doubted labels, and the audit stage from its files to metrics/audit.json."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from sdaug.audit.label_errors import doubt_labels, out_of_fold, score_doubts
from sdaug.audit.params import AuditParams
from sdaug.common.external_images import write_external
from sdaug.common.files import write_csv, write_json, write_text
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.photo_copies import write_copies
from sdaug.common.provenance import write_record
from sdaug.common.sections import read_section

ROOT = Path(__file__).parents[1]
CLASSES = ["dark", "light"]
PARAMS = replace(read_section(ROOT / "params.yaml", "audit", AuditParams), probe_epochs=3, probe_pixels=16)
WRONG = (3, 29)  # the labels that are wrong


def shades() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Dark and light photos, two of them with the other's label, and their folds."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 24)
    images = rng.normal(np.where(labels, 180, 70)[:, None, None, None], 20.0, (48, 32, 32, 3)).clip(0, 255)
    labels[list(WRONG)] = 1 - labels[list(WRONG)]
    return images.astype(np.uint8), labels, np.arange(48) % 4


def test_wrong_labels_are_doubted_and_right_ones_are_not() -> None:
    doubts = doubt_labels(*shades(), CLASSES, replace(PARAMS, probe_epochs=16))
    assert sorted(doubts.indices) == list(WRONG)
    assert sorted(zip(doubts.indices, doubts.guesses, strict=True)) == [(3, 0), (29, 1)]


def test_a_probe_does_not_learn_from_the_fold_that_it_judges() -> None:
    images, labels, folds = shades()
    is_out = folds == 1
    before = out_of_fold(images, labels, folds, CLASSES, PARAMS)[is_out]
    labels[is_out] = 1 - labels[is_out]
    assert np.array_equal(out_of_fold(images, labels, folds, CLASSES, PARAMS)[is_out], before)


def test_probes_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    out_of_fold(*shades(), CLASSES, replace(PARAMS, probe_epochs=1))
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("label errors: ") for line in lines)


def test_precision_and_recall_are_of_the_known_errors() -> None:
    scores = score_doubts([True, True, False, False, True], [True, False, True, True, False])
    assert scores == {"num_wrong": 3, "precision": pytest.approx(1 / 3), "recall": pytest.approx(1 / 3)}


def test_without_errors_or_doubts_there_is_nothing_to_score() -> None:
    assert score_doubts([False], [False]) == {"num_wrong": 0, "precision": None, "recall": None}


def write_study(root: Path, *, on_leak: str) -> None:
    """A study in whose test set there is one photo of a training photo's group."""
    images, labels, folds = shades()
    photos = [
        Photo(
            id=f"{index * 7919 % 65521:012x}",
            label=CLASSES[label],
            group=f"g{0 if index in (0, 44) else index}",
            split="test" if index >= 44 else "train",
            fold=-1 if index >= 44 else int(fold),
            sha256=f"s{index}",
        )
        for index, (label, fold) in enumerate(zip(labels, folds, strict=True))
    ]
    (root / "prepared" / "images").mkdir(parents=True)
    for photo, pixels in zip(photos, images, strict=True):
        save_png(root / "prepared" / "images" / photo.file_name, pixels)
    write_manifest(root / "prepared" / "manifest.csv", photos)
    write_copies(root / "prepared", [])
    write_csv(root / "names.csv", [{"id": photo.id, "file": f"{photo.label}/{photo.id}.jpg"} for photo in photos])
    write_json(root / "prepare.json", {"duplicates": {}, "num_training_copies_of_test_photos": 0})
    (root / "imported").mkdir()
    write_external(root / "imported", [])
    write_record(root / "base", [])
    write_record(root / "generators" / "dark" / "0", photos[2:4])
    write_text(root / "synthetic" / "dark" / "manifest.csv", "id\n")
    params = {
        "classes": CLASSES,
        "concepts": {"dark": {"instance_prompt": "a photo of a zwa"}},
        "audit": {**PARAMS.__dict__, "on_leak": on_leak},
        "base": {"flip_horizontal": False},
        "dreambooth": {"flip_horizontal": False},
        "arm": {"training": {"flip_horizontal": False}},
        "datasets": {"original": {"training": {}}},
        "split": {"protocol": "clean", "fold": 0, "validation_fraction": 0.2, "seed": 0},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))


PHOTOS = "--report prepare.json --metrics audit.json"
IMAGES = "--base base --generators generators --synthetic synthetic --external imported --metrics audit_images.json"


def run_stage(root: Path, name: str = "audit", options: str = PHOTOS) -> None:
    words = f"--params params.yaml --prepared prepared --names names.csv {options}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("sys.argv", [f"{name}.py", *words.split()])
        runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")


def test_a_leak_stops_the_stage_and_is_written(tmp_path: Path) -> None:
    write_study(tmp_path, on_leak="fail")
    with pytest.raises(SystemExit, match=r"^error: audit: groups: \S+\.jpg, \S+\.jpg: group g0 is in fold 0 and test"):
        run_stage(tmp_path)
    written = json.loads((tmp_path / "audit.json").read_text())
    assert written["verdict"] == "leak" and written["checks"]["groups"]["num_found"] == 1


def test_a_leak_can_be_reported_and_gives_the_same_bytes_again(tmp_path: Path) -> None:
    write_study(tmp_path, on_leak="report")
    run_stage(tmp_path)
    first = (tmp_path / "audit.json").read_bytes()
    run_stage(tmp_path)
    assert (tmp_path / "audit.json").read_bytes() == first
    written = json.loads(first)
    assert (written["verdict"], written["on_leak"]) == ("leak", "report")
    doubts = written["label_errors"]
    assert doubts["num_found"] == len(doubts["ids"]) == len(doubts["details"]) > 0
    assert re.fullmatch(r"\w+/\w+\.jpg: labelled \w+, looks like \w+", doubts["details"][0])


@pytest.mark.parametrize(
    ("is_mirrored", "arms", "wanted"),
    [
        (True, {"original": {}, "other": {"flip_horizontal": False}}, ["arm.training.flip_horizontal"]),
        (True, {"original": {"flip_horizontal": False}}, []),
        (False, {"original": {}, "other": {"flip_horizontal": True}}, ["datasets.other.training.flip_horizontal"]),
    ],
)
def test_settings_that_mirror_photos_are_those_of_all_arms_and_of_each(
    tmp_path: Path, is_mirrored: bool, arms: dict[str, dict[str, bool]], wanted: list[str]
) -> None:
    params = {
        "arm": {"training": {"flip_horizontal": is_mirrored}},
        "base": {"flip_horizontal": False},
        "dreambooth": {"flip_horizontal": False},
        "datasets": {name: {"training": training} for name, training in arms.items()},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    stage = runpy.run_path(str(ROOT / "stages" / "audit.py"))
    assert stage["read_flips"](tmp_path / "params.yaml") == wanted


def test_a_generator_without_a_record_stops_the_stage(tmp_path: Path) -> None:
    write_study(tmp_path, on_leak="report")
    (tmp_path / "generators/dark/0/photos.csv").unlink()
    with pytest.raises(SystemExit, match=r"error: generators/dark: no photos.csv, so nobody knows what it saw"):
        run_stage(tmp_path, "audit_images", IMAGES)
