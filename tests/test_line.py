"""The whole pipeline on a tiny study: DVC turns an adopted folder of photos into a verdict."""

import json
import os
import random
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from chaos import STAGES, kill_at_work, read_lock
from diffusers import StableDiffusionPipeline
from line import ROOT, TELLTALE, edit_params, restore, run, warm
from mlflow.tracking import MlflowClient
from torchvision.datasets import ImageFolder

from sdaug.common.manifest import read_manifest
from sdaug.common.provenance import read_record
from sdaug.common.tracking import md5_of

pytestmark = pytest.mark.xdist_group("line")  # in one process, which runs their study once


def test_the_line_ends_with_a_summary_of_every_model_and_data_set(study: Path) -> None:
    accuracies = json.loads((study / "metrics" / "summary.json").read_text())["test_accuracy"]
    assert {model: set(arms) for model, arms in accuracies.items()} == {
        model: {"original", "augmented", "prior_corrected"} for model in ("custom", "other")
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
    photos, images = (
        json.loads((study / "metrics" / f"{name}.json").read_text()) for name in ("audit", "audit_images")
    )
    assert photos["verdict"] == images["verdict"] == "ok"
    assert (len(photos["checks"]), len(images["checks"])) == (8, 3)


def test_models_record_how_photos_were_prepared(study: Path) -> None:
    card = json.loads((study / "models" / "classifiers" / "custom-original" / "0" / "config.json").read_text())
    assert {"prepared_pixels": 64, "square": "crop", "sixteen_bit_maximum": 4095}.items() <= card.items()


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
        ("base__adapt_learning_rate", "fast", r"base.adapt_learning_rate: 'fast' is a string, need a number"),
        ("concepts__stars", {"instance_prompt": "a star"}, r"concepts.stars: 'stars'; not a class"),
        ("prepare__raw", "nowhere", r"prepare.raw: nowhere: no such folder"),
        ("classifiers__other__architecture", "resnet19", r"architecture 'resnet19'"),
        ("classifiers__other__by_dataset", {"original": {"architecture": "resnet19"}}, r"architecture 'resnet19'"),
    ],
)
def test_bad_params_stop_before_anything_runs(study: Path, knob: str, value: object, message: str) -> None:
    edit_params(study, **{knob: value})
    output = run(
        study,
        sys.executable,
        "stages/check.py",
        "--out",
        "metrics/check.json",
        "--sizes",
        "metrics/sizes.json",
        "--classes",
        "metrics/classes.json",
        "--methods",
        "metrics/methods.json",
        ok=False,
    )
    run(study, "git", "restore", "params.yaml")
    assert re.search(message, output), output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_learning_rate_and_a_new_arm_run_only_what_they_touch(study: Path, warm_stages: dict[str, str]) -> None:
    arm = "{images: {synthetic: 0.5}, training: {mixup_alpha: 0.2}}"
    changes = ("classifiers.other.learning_rate=2.0e-3", f"+datasets.half={arm}")
    output = run(study, "dvc", "exp", "run", *(word for change in changes for word in ("-S", change)), **warm_stages)
    runs = {"other-original", "other-augmented", "other-half", "custom-half"}
    names = {f"{stage}@{name}" for stage in ("train", "evaluate") for name in runs}
    did_run = re.findall(r"^Running stage '(\S+)':$", output, re.MULTILINE)
    assert sorted(did_run) == sorted({"check", "split@half", "report", *names})
    assert "up to date" in run(study, "dvc", "status")


def results(study: Path) -> dict[str, bytes]:
    """The contents of all files of a run that Git tracks."""
    files = [study / "dvc.lock", *(study / "metrics").rglob("*"), *(study / "report").rglob("*")]
    return {path.relative_to(study).as_posix(): path.read_bytes() for path in files if path.is_file()}


def test_several_at_once_leave_what_one_after_the_other_leaves(clean: Path) -> None:
    before = results(clean)
    edit_params(clean, classifiers__other__learning_rate=2.0e-3)
    run(clean, "dvc", "repro")
    wanted = results(clean)
    restore(clean)
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
    folders = ["--data", str(packed), "--unlabelled", "data/unlabelled/custom"]
    output = run(study, sys.executable, "stages/train.py", *words.split(), *folders, ok=False)
    assert output.startswith("error: ") and "no training image of stripes; each class needs one" in output
    assert not (study / "model").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_killed_at_work_goes_on_and_writes_the_same_bytes(clean: Path, stage: str) -> None:
    name, entry = next((n, entry) for n, entry in read_lock(clean).items() if n.partition("@")[0] == stage)
    outs = [clean / out["path"] for out in entry["outs"]]
    before = {out: md5_of(out) for out in outs}
    for out in outs:
        shutil.rmtree(out) if out.is_dir() else out.unlink()
    models_or_images = next(out for out in outs if "metrics" not in out.parts)
    kill_at_work(clean, name, models_or_images, random.Random(0))
    assert "going on where an earlier run stopped" in run(clean, *shlex.split(entry["cmd"]))
    assert {out: md5_of(out) for out in outs} == before
    assert not list(clean.rglob("*.partial"))


@pytest.mark.parametrize("stage", ["split", "dreambooth", "train"])
def test_a_full_disk_leaves_what_there_was_and_the_stage_runs_once_there_is_room(clean: Path, stage: str) -> None:
    entry = next(entry for name, entry in read_lock(clean).items() if name.partition("@")[0] == stage)
    outs = [clean / out["path"] for out in entry["outs"]]
    before = {out: md5_of(out) for out in outs}
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    words = [sys.executable, *shlex.split(entry["cmd"])[1:]]
    env = os.environ | {"SDAUG_MLFLOW": "off"}
    failed = subprocess.run(words, cwd=clean, env=env, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "error: " in failed.stderr and "the disk is full" in failed.stderr
    assert "Traceback" not in failed.stderr and {out: md5_of(out) for out in outs} == before
    run(clean, *words)
    assert {out: md5_of(out) for out in outs} == before


def test_runs_that_mlflow_missed_are_imported_once(clean: Path) -> None:
    name, entry = next((name, entry) for name, entry in read_lock(clean).items() if name.startswith("train@"))
    # Two seeds are logged as they are trained; all else was not logged.
    run(clean, "env", "SDAUG_MLFLOW=", f"DVC_STAGE={name}", *shlex.split(entry["cmd"]))
    assert "9 run(s) imported, 2 were there" in run(clean, "sdaug", "mlflow-sync")
    assert "0 run(s) imported, 11 were there" in run(clean, "sdaug", "mlflow-sync")
    client = MlflowClient(tracking_uri=f"sqlite:///{clean / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("sdaug").experiment_id])
    live, other = (next(r for r in runs if r.info.run_name == f"{stage} seed 0") for stage in (name, other_arm(name)))
    assert "imported" in other.data.tags and "imported" not in live.data.tags
    assert live.data.params.keys() == other.data.params.keys() and live.data.metrics.keys() == other.data.metrics.keys()
    logged = str([(run.data.params, run.data.tags, run.info.user_id, run.info.run_name) for run in runs]).encode()
    assert [word for word in telling_words(clean) if word in logged] == []
    edit_params(clean, classifiers__custom__learning_rate=4.0e-3)
    assert "passed over, since params, data or code have changed: train@custom" in run(clean, "sdaug", "mlflow-sync")


def other_arm(stage: str) -> str:
    return stage.replace("original", "augmented") if "original" in stage else stage.replace("augmented", "original")


def test_no_output_tells_whose_machine_it_was(clean: Path) -> None:
    folders = [clean / name for name in ("data", "models", "metrics", "report")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    outs = [clean / out["path"] for stage in read_lock(clean).values() for out in stage["outs"]]
    assert [out for out in outs if not any(path.is_relative_to(out) for path in files)] == [], "all are looked at"
    told = [(path, word) for path in files for word in telling_words(clean) if word in path.read_bytes()]
    assert told == []


def telling_words(study: Path) -> list[bytes]:
    """What must not be in any output: the names and tokens of the environment, and the folders of study and code."""
    host = socket.gethostname()
    folders = [str(study.parent), str(ROOT), sys.prefix]
    return [word.encode() for word in (TELLTALE, *folders, *([host] if len(host) > 6 else []))]


@pytest.mark.slow
@pytest.mark.parametrize("is_warm", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_another_clone_user_locale_and_time_zone_write_the_same_bytes(
    clean: Path, tmp_path: Path, is_warm: bool
) -> None:
    """One stage after another and without the cache of the study, which ran warm and several at once."""
    clone = tmp_path / "a clone"
    run(clean, "git", "clone", "-q", ".", str(clone))
    elsewhere = {"HOME": str(tmp_path), "USER": "other", "LOGNAME": "other", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    with warm(clone, **elsewhere) if is_warm else nullcontext(dict[str, str]()) as starts:
        output = run(clone, "dvc", "repro", "evaluate@custom-augmented", **elsewhere, **starts, PYTHONUTF8="0")
    stages = set(re.findall(r"^Running stage '(\S+)':$", output, re.MULTILINE))
    assert {"base", "dreambooth@stripes", "synthesize@stripes", "train@custom-augmented"} <= stages
    mine, theirs = read_lock(clone), read_lock(clean)
    assert {name: mine[name] for name in stages} == {name: theirs[name] for name in stages}
