"""Workers that do not see the study's folder: they pull what a stage depends on, and send back what it makes."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from servers import PASSWORD, USER, s3_server
from test_engine import Here

from sdaug.run.chains import run_chains
from sdaug.run.engine import serve_engine
from sdaug.run.needs import Needs
from sdaug.run.parcels import RETURNED, Parcels
from sdaug.run.worker import WORKER_DIR, Task, run_task

BIN = Path(sys.executable).parent
NEEDS = {name: Needs(cores=1, gpu_share=0, memory_bytes=1) for name in ("train", "evaluate")}
GRAPH = """
stages:
  split:
    cmd: python stages/split.py
    deps: [stages/split.py]
    outs: [data/packed]
    metrics: [counts.json: {cache: false}]
  train:
    matrix: {model: [a, b]}
    cmd: python stages/train.py ${item.model}
    deps: [data/packed/photos, counts.json, given/base.txt, stages/train.py]
    params: [seed]
    outs: ["models/${item.model}"]
    metrics: ["metrics/${item.model}.json": {cache: false}]
  evaluate:
    matrix: {model: [a, b]}
    cmd: python stages/evaluate.py ${item.model}
    deps: ["models/${item.model}", stages/evaluate.py]
    outs: ["scores/${item.model}.txt"]
"""
SPLIT = """
from pathlib import Path
for name in ("photos", "held_out"):
    Path("data/packed", name).mkdir(parents=True)
    Path("data/packed", name, "one").write_text(name)
Path("counts.json").write_text("{}")
"""
# Looks around, and says so in what it makes.
TRAIN = """
import os, sys
from pathlib import Path
assert "study" not in Path.cwd().parts and os.environ["SDAUG_MLFLOW"] == "off"
if sys.argv[1] == "b" and os.environ.get("SDAUG_FAIL"):
    sys.exit("error: no")
found = sorted(path.as_posix() for root in ("data", "given") for path in Path(root).rglob("*") if path.is_file())
Path("models", sys.argv[1]).mkdir(parents=True)
Path("models", sys.argv[1], "found").write_text(" ".join(found))
Path("metrics").mkdir()
Path("metrics", sys.argv[1] + ".json").write_text(Path("params.yaml").read_text().replace("seed", '{"seed"') + "}")
"""
EVALUATE = """
import sys
from pathlib import Path
Path("scores").mkdir()
Path("scores", sys.argv[1] + ".txt").write_text(Path("models", sys.argv[1], "found").read_text())
"""
STAGES = {"split": SPLIT, "train": TRAIN, "evaluate": EVALUATE}
# The path is relative to the file.
REMOTE = """
[core]
    no_scm = true
    remote = store
['remote "store"']
    url = ../../store
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a remote, whose first stage was run."""
    folder = tmp_path_factory.mktemp("template") / "study"
    texts = {"dvc.yaml": GRAPH, "params.yaml": "seed: 3", "given/base.txt": "b", "src/sdaug/__init__.py": ""}
    texts |= {f"stages/{name}.py": text for name, text in STAGES.items()}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with chdir(folder):
        dvc("init", "-q", "--no-scm")
        (folder / ".dvc" / "config").write_text(REMOTE)
        dvc("repro", "-q", "split")
    return folder


@pytest.fixture
def study(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of one's own, as the working directory, and a place of workers."""
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv(WORKER_DIR, str(tmp_path / "worker"))
    shutil.copytree(template, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def dvc(*words: str) -> None:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    subprocess.run(["dvc", *words], check=True, env=environment)


def test_a_worker_pulls_no_more_than_the_stage_depends_on_and_sends_back_what_it_makes(
    study: Path, tmp_path: Path
) -> None:
    engine = Here()
    with serve_engine(engine, NEEDS, parcels=Parcels(study)) as environment:
        assert run_chains([["train@a", "evaluate@a"]], [os.environ | environment]) == []
    found = "data/packed/photos/one given/base.txt"
    assert (study / "models" / "a" / "found").read_text() == (study / "scores" / "a.txt").read_text() == found
    assert (study / "metrics" / "a.json").read_text() == '{"seed": 3}'
    assert set(yaml.safe_load((study / "dvc.lock").read_text())["stages"]) >= {"train@a", "evaluate@a"}
    assert list((tmp_path / "worker" / "studies").iterdir()) == [] and not list((study / RETURNED).iterdir())
    [first, *_] = engine.submitted
    assert first.parcel is not None and first.parcel.pulled == ("data/packed/photos",)


def test_of_a_stage_that_fails_nothing_comes_back(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDAUG_FAIL", "1")
    with serve_engine(Here(), NEEDS, parcels=Parcels(study)) as environment:
        (error,) = run_chains([["train@b"]], [os.environ | environment])
    assert "error: no" in error and not (study / "models").exists()


def test_a_worker_that_cannot_pull_says_so(study: Path, tmp_path: Path) -> None:
    parcel = Parcels(study).pack("train@a")
    (tmp_path / "store").rename(tmp_path / "away")
    task = Task(words=("stages/train.py", "a"), folder="gone", environment={}, has_gpu=False, parcel=parcel)
    with pytest.raises(ValueError, match=r"dvc pull: .*ERROR: .*; the worker has to reach the default remote"):
        list(run_task(task))


def test_a_folder_whose_worker_was_killed_is_deleted(study: Path, tmp_path: Path) -> None:
    old = tmp_path / "worker" / "studies" / "old"
    old.mkdir(parents=True)
    (old / ".lock").touch()
    with serve_engine(Here(), NEEDS, parcels=Parcels(study)) as environment:
        assert run_chains([["train@a"]], [os.environ | environment]) == []
    assert not old.exists()


def test_passwords_of_the_remote_stay_here(study: Path) -> None:
    given = "url = s3://photos/study\n    region = north\n    access_key_id = telltale"
    (study / ".dvc" / "config").write_text(REMOTE.replace("url = ../../store", given))
    (study / ".dvc" / "config.local").write_text("['remote \"store\"']\n    secret_access_key = telltale\n")
    config = Parcels(study).config
    assert "telltale" not in config and "url = s3://photos/study" in config and "region = north" in config


def test_a_base_that_nobody_sends_stays_here(study: Path) -> None:
    (study / "own").mkdir()
    graph = "  base: {cmd: python stages/base.py, deps: [given/base.txt, stages/train.py], outs: [models/base]}\n"
    (study / "dvc.yaml").write_text(GRAPH + graph)
    parcels = Parcels(study)
    assert parcels.brings("given/base.txt") and parcels.brings("runwayml/stable-diffusion-v1-5")
    assert not parcels.brings("own")


@pytest.mark.slow  # moto takes long to start
def test_a_worker_pulls_from_a_server_with_a_password_of_its_own(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(tmp_path) as settings:
        shared = "\n    ".join(f"{name} = {settings[name]}" for name in ("url", "endpointurl", "region"))
        (study / ".dvc" / "config").write_text(REMOTE.replace("url = ../../store", shared))
        own = "\n    ".join(f"{name} = {settings[name]}" for name in ("access_key_id", "secret_access_key"))
        (study / ".dvc" / "config.local").write_text(f"['remote \"store\"']\n    {own}\n")
        task = Task(
            words=("stages/train.py", "a"),
            folder="gone",
            environment={},
            has_gpu=False,
            parcel=Parcels(study).pack("train@a"),
        )
        with pytest.raises(ValueError, match=r"dvc pull: .*[Cc]redentials"):
            list(run_task(task))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
        assert list(run_task(task))[-1] == 0


def test_a_study_without_a_remote_says_so(study: Path) -> None:
    (study / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    with pytest.raises(ValueError, match=r"--pull: \.dvc/config has no default remote to pull from; `dvc remote add"):
        Parcels(study)
