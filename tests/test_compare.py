"""Comparing with another revision: scores beside each other, and a loud warning if the test sets differ."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdaug.common.manifest import Photo, name_test_set
from sdaug.run.compare import compare

SUMMARY: dict[str, Any] = {
    "validation_accuracy": {"vit": {"original": 0.5}},
    "test_balanced_accuracy": {"vit": {"original": 0.5, "augmented": 0.625}},
    "difference": {"augmented": {"against_original": {"test_balanced_accuracy": {"value": 0.125, "low": 0.1}}}},
    "num_test": 380,
    "test_set": "0a1b2c3d",
}


def commit(folder: Path, summary: dict[str, Any], *, tag: str) -> None:
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics/summary.json").write_text(json.dumps(summary))
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", tag], ["tag", tag]):
        subprocess.run(["git", *words], cwd=folder, check=True)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    commit(tmp_path, SUMMARY, tag="before")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_headline_scores_stand_beside_each_other(study: Path) -> None:
    changed = SUMMARY | {"test_balanced_accuracy": {"vit": {"original": 0.5, "augmented": 0.75}}}
    (study / "metrics/summary.json").write_text(json.dumps(changed))
    lines = compare("before").splitlines()
    assert lines[0] == "Both have the test set 0a1b2c3d (380 photos)."
    assert [line.split() for line in lines[2:]] == [
        ["test_balanced_accuracy.vit.original", "0.5000", "0.5000", "+0.0000"],
        ["test_balanced_accuracy.vit.augmented", "0.6250", "0.7500", "+0.1250"],
        ["difference.augmented.against_original.test_balanced_accuracy.value", "0.1250", "0.1250", "+0.0000"],
    ]


def test_another_test_set_is_said_loudly(study: Path) -> None:
    (study / "metrics/summary.json").write_text(json.dumps(SUMMARY | {"test_set": "ffffffff", "num_test": 9}))
    first = compare("before").splitlines()[0]
    assert first.startswith("WARNING: THE TEST SETS DIFFER: 0a1b2c3d (380 photos) in before, ffffffff (9 photos) here.")


def test_a_revision_that_does_not_tell_its_test_set_is_said_loudly(study: Path) -> None:
    commit(study, {key: value for key, value in SUMMARY.items() if key != "test_set"}, tag="old")
    assert compare("old").startswith("WARNING: old does not tell its test set")


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("revision", ["nowhere", "--help"])
def test_a_revision_that_is_not_there_is_refused(revision: str) -> None:
    with pytest.raises(ValueError, match=rf"{revision}: no metrics/summary.json there \(.*\); give a branch or commit"):
        compare(revision)


def test_a_study_without_results_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"summary.json: missing; run `dvc repro` first"):
        compare("main")


def test_the_name_of_a_test_set_is_that_of_its_files_and_labels() -> None:
    photo = Photo(id="a", label="x", group="a", split="test", fold=-1, sha256="1")
    train = replace(photo, id="t", split="train", fold=0, sha256="3")
    test_set = [photo, replace(photo, id="b", sha256="2")]
    name = name_test_set(test_set)
    assert len(name) == 8 and name == name_test_set([*reversed(test_set), train])
    others = [test_set[:1], [photo, replace(photo, sha256="3")], [photo, replace(photo, sha256="2", label="y")]]
    assert name not in map(name_test_set, others)
