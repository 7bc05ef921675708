"""Data sets and models of runs in MLflow: paths and hashes alone, of DVC's lock where it has them."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sdaug.common import tracking
from sdaug.common.files import write_csv, write_json
from sdaug.common.sections import read_params
from sdaug.common.tracking import md5_of
from sdaug.run.mlflow_sync import Synced, complete_runs, sync_mlflow

PARAMS = Path(__file__).parents[1] / "params.yaml"
PACKED, FOLDER = "a" * 32 + ".dir", "b" * 32 + ".dir"
TRAIN, SCTL, DREAMBOOTH = "train@plain-original", "train@seeing-original", "dreambooth@score_1"
NAMES = [f"{DREAMBOOTH} draw 0", f"{TRAIN} seed 0", f"{SCTL} seed 0"]


def write_file(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with three finished trainings, of which DVC's lock knows one; logging is on, to a database."""
    root = tmp_path / "study"
    monkeypatch.delenv("SDAUG_MLFLOW", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'log.db'}")
    monkeypatch.setenv("DVC_ROOT", str(root))
    params = read_params(PARAMS)
    plain = next(iter(params["classifiers"].values()))
    params |= {"concepts": {"score_1": params["concepts"]["score_1"]}, "generator_seeds": [0], "seeds": [0]}
    params["classifiers"] = {"plain": plain, "seeing": {**plain, "method": "sctl"}}
    params["datasets"] = {"original": params["datasets"]["original"]}
    write_file(root / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    for folder in ("data/prepared", "data/class_images", "data/packed/original", "data/unlabelled/seeing"):
        write_file(root / folder / "images.npy", folder)
    write_file(root / "models/dreambooth/score_1/0/unet/diffusion_pytorch_model.safetensors", "unet")
    for n, model in enumerate(("plain", "seeing")):
        write_file(root / f"models/classifiers/{model}-original/0/model.safetensors", model)
        found = {"model": model, "dataset": "original", "seed": 0, "draw": None, "best_epoch": 2}
        for kind in ("history", "train"):
            (root / "metrics" / kind / f"{model}-original").mkdir(parents=True)
        write_json(root / f"metrics/train/{model}-original/0.json", found)
        write_csv(root / f"metrics/history/{model}-original/0.csv", [{"epoch": 1, "loss": 0.5 + n}])
    (root / "metrics/dreambooth/score_1").mkdir(parents=True)
    write_csv(root / "metrics/dreambooth/score_1/0.csv", [{"curve": "loss", "step": 1, "value": 0.5}])
    write_lock(root, PACKED, FOLDER)
    return root


def write_lock(root: Path, packed: str, folder: str) -> None:
    entry = {
        "deps": [{"path": "data/packed/original", "md5": packed}],
        "outs": [{"path": "models/classifiers/plain-original", "md5": folder}],
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {TRAIN: entry}}))


def sync(root: Path, changed: Mapping[str, object] = {}) -> Synced:
    return sync_mlflow(root / "params.yaml", root, changed)


def runs_by_name() -> tuple[Any, dict[str, Any]]:
    client, experiment = tracking.connect()
    return client, {run.info.run_name: run for run in client.search_runs([experiment])}


def data_of(run: Any) -> dict[str, tuple[str, str]]:
    """Digest and use of each data set of a run."""
    return {
        found.dataset.name: (found.dataset.digest, {tag.key: tag.value for tag in found.tags}["mlflow.data.context"])
        for found in run.inputs.dataset_inputs
    }


def models_of(client: Any, run: Any) -> list[Any]:
    return [client.get_logged_model(output.model_id) for output in run.outputs.model_outputs]


def test_each_run_has_its_data_sets_with_digest_and_its_model_with_hash(study: Path) -> None:
    assert sync(study).completed == NAMES
    client, runs = runs_by_name()
    assert data_of(runs[f"{TRAIN} seed 0"]) == {"data/packed/original": (PACKED, "training")}
    (model,) = models_of(client, runs[f"{TRAIN} seed 0"])
    assert model.params == {
        "path": "models/classifiers/plain-original/0",
        "folder.path": "models/classifiers/plain-original",
        "folder.md5": FOLDER,
        "md5.model.safetensors": hashlib.md5(b"plain").hexdigest(),
    }
    assert model.tags["mlflow.model.isExternal"] == "true" and str(model.status) == "READY"
    assert model.model_type == "classifiers" and model.source_run_id == runs[f"{TRAIN} seed 0"].info.run_id
    assert [output.step for output in runs[f"{TRAIN} seed 0"].outputs.model_outputs] == [2]


def test_what_dvc_has_no_hash_of_is_hashed(study: Path) -> None:
    sync(study)
    client, runs = runs_by_name()
    assert data_of(runs[f"{SCTL} seed 0"]) == {
        "data/packed/original": (md5_of(study / "data/packed/original"), "training"),
        "data/unlabelled/seeing": (md5_of(study / "data/unlabelled/seeing"), "unlabelled"),
    }
    (generator,) = models_of(client, runs[f"{DREAMBOOTH} draw 0"])
    assert generator.params["md5.unet/diffusion_pytorch_model.safetensors"] == hashlib.md5(b"unet").hexdigest()
    assert generator.params["folder.md5"] == md5_of(study / "models/dreambooth/score_1/0")
    assert "base.md5" not in generator.params  # models/base is not here
    assert data_of(runs[f"{DREAMBOOTH} draw 0"]).keys() == {"data/prepared", "data/class_images"}


def test_again_adds_nothing_and_another_hash_adds_a_model(study: Path) -> None:
    sync(study)
    assert sync(study).completed == []
    write_lock(study, PACKED, "c" * 32 + ".dir")
    assert sync(study, {TRAIN: {}}).completed == []  # out of date: its files may be those of other settings
    assert sync(study).completed == [f"{TRAIN} seed 0"]
    client, runs = runs_by_name()
    assert len(runs) == 3
    assert sorted(m.params["folder.md5"][0] for m in models_of(client, runs[f"{TRAIN} seed 0"])) == ["b", "c"]
    assert len(data_of(runs[f"{TRAIN} seed 0"])) == 1


def test_weights_that_were_not_pulled_are_known_by_the_lock_alone(study: Path) -> None:
    (study / "models/classifiers/plain-original/0/model.safetensors").unlink()
    (study / "models/dreambooth/score_1/0/unet/diffusion_pytorch_model.safetensors").unlink()
    (study / "models/dreambooth/score_1/0/unet").rmdir()
    (study / "models/dreambooth/score_1/0").rmdir()
    sync(study)
    client, runs = runs_by_name()
    (model,) = models_of(client, runs[f"{TRAIN} seed 0"])
    assert model.params["folder.md5"] == FOLDER and not [key for key in model.params if key.startswith("md5.")]
    assert runs[f"{DREAMBOOTH} draw 0"].outputs.model_outputs == []


def test_runs_that_were_logged_live_are_completed_after_a_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", TRAIN)
    with tracking.track({}, {}, part="seed 0") as log:
        log.history([{"epoch": 1, "loss": 0.5}])
    complete_runs(study / "params.yaml", study)
    client, runs = runs_by_name()
    assert runs.keys() == {f"{TRAIN} seed 0"}  # and nothing is imported
    assert data_of(runs[f"{TRAIN} seed 0"]) == {"data/packed/original": (PACKED, "training")}
    assert len(models_of(client, runs[f"{TRAIN} seed 0"])) == 1


def test_without_mlflow_a_study_ends_all_the_same(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    complete_runs(study / "params.yaml", study)
    assert re.search(r"WARNING: MLflow lacks data sets and models .*`sdaug mlflow-sync`", capsys.readouterr().err)
    monkeypatch.setenv("SDAUG_MLFLOW", "off")
    complete_runs(study / "params.yaml", study)
    assert capsys.readouterr().err == ""
