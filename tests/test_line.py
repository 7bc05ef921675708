"""The whole pipeline on a tiny study: DVC turns an adopted folder of photos into a verdict."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from diffusers import StableDiffusionPipeline
from PIL import Image
from torchvision.datasets import ImageFolder

from sdaug.common.manifest import read_manifest
from sdaug.common.record import read_record

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def run(folder: Path, *words: str, ok: bool = True) -> str:
    """The output of a command run in a study's folder."""
    env = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
        "SDAUG_MLFLOW": "off",
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
    }
    result = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert (result.returncode == 0) == ok, output
    return output


def copy_checkout(folder: Path) -> Path:
    """Copy the tracked and new files of this checkout into a repository of their own."""
    listed = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "study")
    return folder


def edit_params(folder: Path, **values: object) -> None:
    """Set parameters given as `section__key=value`."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for name, value in values.items():
        *parents, last = name.split("__")
        section = params
        for parent in parents:
            section = section[parent]
        section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 24 photos of squares and 14 of stripes, run once."""
    folder = tmp_path_factory.mktemp("line") / "study"
    folder.mkdir()
    copy_checkout(folder)
    shutil.rmtree(folder / "metrics", ignore_errors=True)
    shutil.rmtree(folder / "report", ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    photos = folder.parent / "photos"
    rng = np.random.default_rng(0)
    for label, count in (("squares", 24), ("stripes", 14)):
        (photos / label).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 60, (40, 36, 3), dtype=np.uint8)
            pixels[10:26, 10:26] += 120 if label == "squares" else 0
            pixels[::4] += 120 if label == "stripes" else 0
            Image.fromarray(pixels).save(photos / label / f"{index}.jpg")
    run(folder, "git", "commit", "-qam", "forget results")
    run(folder, "sdaug", "adopt", str(photos), "--preset", "current", "--subject", "pattern")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    custom = params["classifiers"]["custom"] | {"steps": 6, "batch_size": 4}
    params["class_images"]["num_images"] = 2
    for section in ("class_images", "synthesize"):
        params[section]["drawing"]["inference_steps"] = 2
    params["dreambooth"] |= {"training_steps": 2, "num_preview_images": 2}
    params["fidelity"] |= {"num_images": 2}
    params["base"] |= {"model": "tiny", "vae_steps": 3, "unet_steps": 2, "unet_batch_size": 4}
    params["classifiers"] = {"custom": custom, "other": custom | {"learning_rate": 1.0e-3}}
    params["prepare"]["num_folds"] = 3
    del params["datasets"]["oversampled"]  # two arms show as much as three
    params["seeds"] = params["generator_seeds"] = [0, 1]
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run(folder, "sdaug", "grid", "--jobs", "2")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "run")
    return folder


def test_the_line_ends_with_a_summary_of_every_model_and_data_set(study: Path) -> None:
    accuracies = json.loads((study / "metrics" / "summary.json").read_text())["test_accuracy"]
    assert {model: set(arms) for model, arms in accuracies.items()} == {
        "custom": {"original", "augmented"},
        "other": {"original", "augmented"},
    }


def test_the_report_has_its_page_and_pictures(study: Path) -> None:
    names = {path.name for path in (study / "report").iterdir()}
    assert {"index.html", "comparison.md", "images.png", "steps.png", "class_counts.png", "confusion.png"} <= names


def test_the_rare_class_is_filled_up(study: Path) -> None:
    rows = (study / "data" / "packed" / "augmented" / "examples.csv").read_text().splitlines()[1:]
    training = [row.split(",")[2] for row in rows if row.endswith((",train,", ",train,1"))]
    assert training.count("stripes") == training.count("squares")


def test_generators_record_the_photos_that_they_saw(study: Path) -> None:
    seen = [photo for photo in read_manifest(study / "data" / "prepared") if photo.fold > 0]  # fold 0 is for validation
    stripes = {photo.id for photo in seen if photo.label == "stripes"}
    assert {photo.id for photo in read_record(study / "models" / "base")} == {photo.id for photo in seen}
    records = list((study / "models" / "dreambooth" / "stripes").rglob("photos.csv"))
    assert records and all({photo.id for photo in read_record(path.parent)} == stripes for path in records)


def test_the_audit_finds_no_leak(study: Path) -> None:
    audit = json.loads((study / "metrics" / "audit.json").read_text())
    assert audit["verdict"] == "ok" and len(audit["checks"]) == 10


def test_generators_load_in_plain_diffusers(study: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(study / "models" / "dreambooth" / "stripes" / "1")
    assert pipeline.unet is not None


def test_synthetic_images_load_as_an_image_folder(study: Path) -> None:
    assert ImageFolder(str(study / "data" / "synthetic")).classes == ["stripes"]


def test_a_second_repro_runs_nothing(study: Path) -> None:
    assert "Data and pipelines are up to date." in run(study, "dvc", "repro")


def test_nothing_is_left_for_git_after_a_run(study: Path) -> None:
    assert run(study, "git", "status", "--porcelain") == ""


def test_a_clone_pulls_from_a_folder_remote_and_is_up_to_date(study: Path, tmp_path: Path) -> None:
    clone = push_and_clone(study, tmp_path)
    run(clone, "dvc", "pull")
    assert "up to date" in run(clone, "dvc", "status")


def test_a_damaged_object_on_the_remote_is_not_pulled(study: Path, tmp_path: Path) -> None:
    clone = push_and_clone(study, tmp_path)
    weights = next(path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.suffix != ".dir")
    weights.chmod(0o644)
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "failed to pull" in run(clone, "dvc", "pull", ok=False)


def push_and_clone(study: Path, folder: Path) -> Path:
    """A clone with a new folder as its remote, to which all outputs of the study were pushed."""
    run(study, "dvc", "remote", "modify", "store", "url", str(folder / "store"))
    run(study, "dvc", "push")
    clone = folder / "clone"
    run(study, "git", "clone", "-q", ".", str(clone))
    shutil.copy(study / ".dvc" / "config", clone / ".dvc" / "config")
    return clone


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("split__folds", 3, r"params.yaml: split.folds: unknown key"),
        ("base__unet_learning_rate", "1e-4", r"base.unet_learning_rate: '1e-4' is a string, need a number"),
        ("concepts__stars", {"instance_prompt": "a star"}, r"concepts.stars: 'stars'; not a class"),
        ("prepare__raw", "nowhere", r"prepare.raw: nowhere: no such folder"),
        ("classifiers__other__architecture", "resnet19", r"architecture 'resnet19'"),
        ("classifiers__other__by_dataset", {"original": {"architecture": "resnet19"}}, r"architecture 'resnet19'"),
    ],
)
def test_bad_params_stop_before_anything_runs(study: Path, knob: str, value: object, message: str) -> None:
    edit_params(study, **{knob: value})
    output = run(study, sys.executable, "stages/check.py", "--out", "metrics/check.json", ok=False)
    run(study, "git", "restore", "params.yaml")
    assert re.search(message, output), output
    assert len(output.strip().splitlines()) == 1


def test_a_learning_rate_and_a_new_arm_run_only_what_they_touch(study: Path) -> None:
    arm = "{images: {synthetic: 0.5}, training: {mixup_alpha: 0.2}}"
    changes = ("classifiers.other.learning_rate=2.0e-3", f"+datasets.half={arm}")
    output = run(study, "dvc", "exp", "run", *(word for change in changes for word in ("-S", change)))
    runs = {"other-original", "other-augmented", "other-half", "custom-half"}
    names = {f"{stage}@{name}" for stage in ("train", "evaluate") for name in runs}
    did_run = re.findall(r"^Running stage '(\S+)':$", output, re.MULTILINE)
    assert sorted(did_run) == sorted({"check", "split@half", "report", *names})
    assert "up to date" in run(study, "dvc", "status")


@pytest.fixture
def clean(study: Path) -> Iterator[Path]:
    """The study, restored to its committed state before and after the test."""
    for moment in range(2):
        run(study, "git", "restore", ".")
        run(study, "dvc", "checkout", "-q", "--force")
        if moment == 0:
            yield study


def results(study: Path) -> dict[str, bytes]:
    """The contents of all files of a run that Git tracks."""
    files = [study / "dvc.lock", *(study / "metrics").rglob("*"), *(study / "report").rglob("*")]
    return {path.relative_to(study).as_posix(): path.read_bytes() for path in files if path.is_file()}


def test_several_at_once_leave_what_one_after_the_other_leaves(clean: Path) -> None:
    before = results(clean)
    edit_params(clean, classifiers__other__learning_rate=2.0e-3)
    run(clean, "dvc", "repro")
    wanted = results(clean)
    run(clean, "git", "restore", ".")
    run(clean, "dvc", "checkout", "-q", "--force")
    edit_params(clean, classifiers__other__learning_rate=2.0e-3)
    output = run(clean, "sdaug", "grid", "--jobs", "2")
    assert re.search(r"train@other-augmented, evaluate@other-augmented: \d+ s", output)
    assert results(clean) == wanted != before


def test_a_training_that_fails_leaves_the_others_to_finish(clean: Path) -> None:
    edit_params(
        clean,
        classifiers__custom__by_dataset={"augmented": {"batch_size": 400}},
        classifiers__other__learning_rate=3.0e-3,
    )
    output = run(clean, "sdaug", "grid", "--jobs", "2", ok=False)
    assert "train@custom-augmented, evaluate@custom-augmented: FAILED" in output
    assert re.search(r"batch_size: 400 .*there are \d+ training images", output.splitlines()[-1] + output)
    stale = json.loads(run(clean, "dvc", "status", "--json"))
    assert {stage for stage in stale if "@" in stage} == {"train@custom-augmented", "evaluate@custom-augmented"}


def test_a_class_without_training_images_is_named(study: Path) -> None:
    packed = study.parent / "no_stripes"
    shutil.copytree(study / "data" / "packed" / "original", packed)
    table = packed / "examples.csv"
    table.chmod(0o644)
    table.write_text(re.sub(r"(,stripes,\w+,)train", r"\1validation", table.read_text()))
    words = "--model custom --dataset original --out model --metrics numbers --history history"
    output = run(study, sys.executable, "stages/train.py", *words.split(), "--data", str(packed), ok=False)
    assert output.startswith("error: ") and "no training image of stripes; each class needs one" in output
    assert not (study / "model").exists()
