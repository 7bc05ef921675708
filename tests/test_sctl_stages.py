"""Stages `unlabelled` and `train` on one test set under other labels: the classifier learns the same."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from test_training import IMAGES, LABELS

from sdaug.common.files import write_csv
from sdaug.common.sections import read_params

ROOT = Path(__file__).parents[1]
TEST_PHOTOS = np.random.default_rng(3).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)


def run_stage(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SDAUG_MLFLOW", "off")
    monkeypatch.setattr("sys.argv", [f"{name}.py", *words])
    runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")


def pack(folder: Path, images: NDArray[np.uint8], labels: list[str], parts: list[str]) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    rows = [
        {"id": f"i{n}", "group": f"g{n}", "label": label, "origin": "real", "part": part, "draw": ""}
        for n, (label, part) in enumerate(zip(labels, parts, strict=True))
    ]
    write_csv(folder / "examples.csv", rows)


def train_on(folder: Path, test_labels: list[str], order: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The weights of a classifier beside a test set with these labels, in this order."""
    params = read_params(ROOT / "params.yaml")
    params |= {"classes": ["a", "b", "c"], "seeds": [0]}
    params["sctl"] |= {"thresholds": [0.3, 0.4], "starts": [0.2, 0.6]}  # which such short training reaches
    entry = {"architecture": "custom", "image_size": 16, "batch_size": 4, "steps": 12}
    params["classifiers"] = {"plain": entry, "seer": entry | {"method": "sctl"}}
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "methods.json").write_text(json.dumps({"plain": "plain", "seer": "sctl"}))
    pack(folder / "original", IMAGES, ["abc"[k] for k in LABELS], ["train"] * 10 + ["validation"] * 3)
    pack(folder / "test", TEST_PHOTOS[order], test_labels, ["test"] * len(order))
    handed = ["--methods", "methods.json", "--images", "test/images.npy", "--out", "unlabelled"]
    run_stage("unlabelled", folder, monkeypatch, *handed)
    (folder / "test" / "examples.csv").unlink()  # not even there
    words = ["--model", "seer", "--dataset", "original", "--data", "original", "--unlabelled", "unlabelled/seer"]
    run_stage("train", folder, monkeypatch, *words, "--out", "models", "--metrics", "metrics", "--history", "history")
    assert json.loads((folder / "models" / "0" / "config.json").read_text())["method"] == "sctl"
    return (folder / "models" / "0" / "model.safetensors").read_bytes()


def test_shuffled_test_labels_give_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, stream = list("aaaabbbbccc"), np.random.default_rng(1)
    shuffled = [str(label) for label in stream.permutation(labels)]
    assert shuffled != labels
    first = train_on(tmp_path / "first", labels, np.arange(11), monkeypatch)
    # Other labels mean another order of the photos, too, by which they might be told.
    assert train_on(tmp_path / "second", shuffled, stream.permutation(11), monkeypatch) == first
