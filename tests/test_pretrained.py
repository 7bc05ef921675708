"""Pretrained weights are loaded from the hub and recorded in the card; a server on localhost stands in for the hub."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save

COMMIT, OLD_COMMIT, HUB_ID = "1" * 40, "2" * 40, "timm/test_resnet.r160_in1k"
torch.manual_seed(0)
GIVEN = timm.create_model("test_resnet").state_dict()
FILES = {"model.safetensors": save(GIVEN), "config.json": json.dumps({"architecture": "test_resnet"}).encode()}
ASK = """
import sys, json, time, numpy as np, torch
time.sleep = lambda _: None  # the hub client retries for most of a minute before it gives up
from dataclasses import replace
from safetensors.torch import load
from sdaug.classify.models import build_model, check_model
from sdaug.train.probe import ARM, RECIPE
from sdaug.train.probe import TRAINING
from sdaug.train.examples import photos_alone
from sdaug.train.training import train_classifier

recipe = replace(RECIPE, architecture="test_resnet", pretrained=True, freeze_backbone=True, image_size=32, epochs=1)
recipe = replace(recipe, revision=sys.argv[1] if sys.argv[1:] else None)
try:
    check_model(recipe, ["a", "b"])
except ValueError as error:
    sys.exit(str(error))
model, card = build_model(recipe, ["a", "b"], prepared_pixels=32)
images, labels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), np.arange(16) % 2
data, training = (images, labels), photos_alone(images, labels)
trained = train_classifier(
    training, data, ["a", "b"], recipe=recipe, arm=replace(ARM, flip_horizontal=False), shared=TRAINING, seed=0,
    device=torch.device("cpu"),
)
changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, trained.weights[name])]
print(json.dumps({
    "pretrained": card.pretrained, "mean": card.mean, "changed": changed,
    "learning": [name for name, weight in model.named_parameters() if weight.requires_grad],
    "sums": {name: float(weight.double().sum()) for name, weight in model.state_dict().items()},
}))
"""


class Hub(BaseHTTPRequestHandler):
    """Serves the two files of one model, at its newest commit and at an old one."""

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        body = FILES.get(name, b"") if HUB_ID in self.path else b""
        self.send_response(200 if body else 404)
        commit = OLD_COMMIT if f"/{OLD_COMMIT}/" in self.path else COMMIT
        headers = {"X-Repo-Commit": commit, "ETag": f'"{name}"', "Content-Length": str(len(body))}
        for key, value in headers.items() if body else {"X-Error-Code": "EntryNotFound"}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


def ask(endpoint: str, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-c", ASK, *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The address of a running hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def answer(hub: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = ask(hub, tmp_path_factory.mktemp("hub"))
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_weights_are_those_of_the_hub_but_for_the_head(answer: dict[str, Any]) -> None:
    same = {name: float(weight.double().sum()) for name, weight in GIVEN.items() if not name.startswith("fc.")}
    assert {name: answer["sums"][name] for name in same} == pytest.approx(same)


def test_card_names_the_hub_id_and_the_commit(answer: dict[str, Any]) -> None:
    assert answer["pretrained"] == f"{HUB_ID}@{COMMIT}"
    assert answer["mean"] == pytest.approx(timm.create_model("test_resnet").pretrained_cfg["mean"])


def test_a_revision_pins_the_weights(hub: str, tmp_path: Path) -> None:
    result = ask(hub, tmp_path, OLD_COMMIT)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["pretrained"] == f"{HUB_ID}@{OLD_COMMIT}"


def test_frozen_backbone_leaves_all_but_the_head_as_it_was(answer: dict[str, Any]) -> None:
    assert answer["learning"] == ["fc.weight", "fc.bias"]
    assert set(answer["changed"]) == {"fc.weight", "fc.bias"}


def test_hub_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    result = ask("http://127.0.0.1:9", tmp_path)
    assert result.returncode == 1
    assert "architecture 'test_resnet'" in result.stderr and "set pretrained: false" in result.stderr
