"""Saved pipelines: plain diffusers layout, reproducible bytes, and an error message for each fault."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from small import BASE, build_small

from sdaug.diffusion.pipelines import load_checkpoint, load_pipeline, save_part, save_pipeline

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "base"
    save_pipeline(build_small(), path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_saved_pipeline_loads_with_plain_diffusers(folder: Path, part: str) -> None:
    loaded = getattr(StableDiffusionPipeline.from_pretrained(folder), part).state_dict()
    built = getattr(build_small(), part).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in built.items())


def test_tokenizer_comes_back(folder: Path) -> None:
    prompt = "a photo of a zwa teat end, größe 3"
    built = build_small().tokenizer(prompt).input_ids
    assert load_pipeline(folder, CPU).tokenizer(prompt).input_ids == built


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_pipeline(build_small(), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


@pytest.mark.parametrize("is_loaded", [False, True], ids=["built", "loaded"])
def test_names_of_text_weights_are_those_of_stable_diffusion_1_5(folder: Path, tmp_path: Path, is_loaded: bool) -> None:
    pipeline = load_pipeline(folder, CPU) if is_loaded else build_small()
    save_pipeline(pipeline, tmp_path / "whole")
    save_part(pipeline.text_encoder, tmp_path / "part")
    for path in (tmp_path / "whole" / "text_encoder", tmp_path / "part"):
        names = set(load_file(path / "model.safetensors"))
        assert {name.split(".")[0] for name in names} == {"text_model"}
        assert "text_model.encoder.layers.0.self_attn.q_proj.weight" in names


def test_text_weights_without_the_prefix_are_read_as_well(folder: Path, tmp_path: Path) -> None:
    """As transformers 5 writes them for a model that it has built."""
    build_small().text_encoder.save_pretrained(copied(folder, tmp_path / "base") / "text_encoder")
    loaded = load_pipeline(tmp_path / "base", CPU).text_encoder.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in build_small().text_encoder.state_dict().items())


def test_tokenizer_has_the_files_of_clip(folder: Path) -> None:
    """transformers 4 reads no other ones."""
    tokenizer = build_small().tokenizer
    assert json.loads((folder / "tokenizer" / "vocab.json").read_text()) == tokenizer.get_vocab()
    merges = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]["merges"]
    lines = (folder / "tokenizer" / "merges.txt").read_text().splitlines()[1:]
    assert lines == [" ".join(pair) for pair in merges]


def test_saving_what_was_loaded_gives_the_same_weights_and_scheduler(folder: Path, tmp_path: Path) -> None:
    save_pipeline(load_pipeline(folder, CPU), tmp_path / "again")
    before, after = contents(folder), contents(tmp_path / "again")
    names = [name for name in before if name.endswith(".safetensors") or name.startswith("scheduler")]
    assert len(names) == 4 and all(before[name] == after[name] for name in names)


def test_no_file_names_the_folder_that_it_was_loaded_from(folder: Path, tmp_path: Path) -> None:
    save_pipeline(load_pipeline(folder, CPU), tmp_path / "again")
    assert not any(folder.as_posix().encode() in content for content in contents(tmp_path / "again").values())


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def test_folder_without_a_unet_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(copied(folder, tmp_path / "base") / "unet")
    with pytest.raises(ValueError, match="no unet; need a Stable Diffusion in the diffusers layout"):
        load_pipeline(tmp_path / "base", CPU)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = copied(folder, tmp_path / "base") / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"unet has no \.safetensors weights.*save it again with `save_pretrained"):
        load_pipeline(tmp_path / "base", CPU)


def as_variant(folder: Path, target: Path) -> Path:
    """A copy of a folder with its weights only as the fp16 variant."""
    for weights in copied(folder, target).rglob("*.safetensors"):
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    return target


def test_folder_of_another_variant_is_loaded_if_it_is_named(folder: Path, tmp_path: Path) -> None:
    loaded = load_pipeline(as_variant(folder, tmp_path / "base"), CPU, variant="fp16").unet.state_dict()
    assert all(
        torch.equal(tensor, loaded[name]) for name, tensor in load_pipeline(folder, CPU).unet.state_dict().items()
    )


@pytest.mark.parametrize("variant", [None, "bf16"])
def test_folder_of_another_variant_names_what_it_has(folder: Path, tmp_path: Path, variant: str | None) -> None:
    other = as_variant(folder, tmp_path / "base")
    with pytest.raises(ValueError, match=r"unet has no weights.*but diffusion_pytorch_model\.fp16.*set base\.variant"):
        load_pipeline(other, CPU, variant=variant)


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_folder_without_a_config_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (copied(folder, tmp_path / "base") / name).unlink()
    with pytest.raises(ValueError, match=f"no {name}; need a Stable Diffusion"):
        load_pipeline(tmp_path / "base", CPU)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model_index.json", "model_index.json is damaged"),
        ("unet/config.json", "a part is damaged"),
        ("vae/diffusion_pytorch_model.safetensors", "a part is damaged"),
    ],
)
def test_damaged_file_is_named(folder: Path, tmp_path: Path, name: str, message: str) -> None:
    (copied(folder, tmp_path / "base") / name).write_text("{")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/base: {message}.* copy"):
        load_pipeline(tmp_path / "base", CPU)


def test_other_kind_of_pipeline_is_refused(folder: Path, tmp_path: Path) -> None:
    index = copied(folder, tmp_path / "base") / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusion3Pipeline"))
    with pytest.raises(ValueError, match=r"is a StableDiffusion3Pipeline; supported: Stable Diffusion 1\.x and 2\.x"):
        load_pipeline(tmp_path / "base", CPU)


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        ("weights.ckpt", None, "a pickle can run arbitrary code; convert it to .safetensors"),
        ("absent.safetensors", None, "no such file"),
        ("here.safetensors", None, "a single file needs a local folder of configs"),
        ("here.safetensors", "empty", "a single file needs a local folder of configs"),
        ("empty", None, "no model_index.json, unet, vae, text_encoder, tokenizer, scheduler"),
        ("no/such/thing", None, "need a hub id such as owner/name"),
        ("small", None, "need a hub id such as owner/name"),
        ("tiny", None, "no longer trained here from scratch; write pretrained/small, and adapt_steps: 600"),
    ],
)
def test_source_that_can_be_no_stable_diffusion_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, config: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "here.safetensors").touch()
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(BASE, model=model, config=config and Path(config))


def test_file_that_is_no_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="not a checkpoint of the model that"):
        load_checkpoint(tmp_path / "weights.safetensors", folder)


ANSWERS = {  # the hub's answer by model name: HTTP status, X-Error-Code and our message
    "gated": (
        403,
        "GatedRepo",
        "its licence has not been accepted; accept it on the model's page, then `hf auth login`",
    ),
    "absent": (401, "RepoNotFound", "the hub has no such id (or it is private)"),
    "revision": (404, "RevisionNotFound", "no revision 'v9'; correct base.revision, or leave it empty"),
    "layout": (404, "EntryNotFound", "it has no model_index.json, so it is not in the diffusers layout"),
    "other": (200, "", "is a StableDiffusionXLImg2ImgPipeline, such as SDXL's refiner; supported: "),
    "weights": (200, "", "the hub has no safetensors weights"),
    "variant": (200, "", "the hub has no safetensors weights of variant 'fp16'"),
    "busy": (200, "", "it could not be fetched"),
}
PIPELINE = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
INDEXES = {"other": {"_class_name": "StableDiffusionXLImg2ImgPipeline"}}
FILES = [{"rfilename": name} for name in ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin")]
ASK = """
import sys, time
time.sleep = lambda _: None  # the hub client retries for most of a minute
from sdaug.diffusion.pipelines import download_pipeline
for name in sys.argv[1:]:
    try:
        download_pipeline(f"someone/{name}", "v9", "fp16" if name == "variant" else None)
    except ValueError as error:
        print(name, error, sep="\\t")
"""


class Hub(BaseHTTPRequestHandler):
    """A minimal fake of the hub."""

    def do_GET(self) -> None:
        name = next((part for part in self.path.split("/") if part in ANSWERS), "absent")
        status, code, _ = ANSWERS[name]
        body = b""
        if status == 200 and "model_index" in self.path:
            body = json.dumps(INDEXES.get(name, PIPELINE)).encode()
        elif name == "busy":
            status = 503
        elif status == 200 and self.path.startswith("/api/models/"):
            files = [*FILES, {"rfilename": "unet/diffusion_pytorch_model.safetensors"}] if name == "variant" else FILES
            body = json.dumps({"id": f"someone/{name}", "sha": "0" * 40, "siblings": files}).encode()
        self.send_response(status if body or status != 200 else 404)
        for key, value in {"X-Error-Code": code, "X-Repo-Commit": "0" * 40, "ETag": f'"{name}"'}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


def ask(endpoint: str, cache: Path, names: Iterable[str]) -> dict[str, str]:
    """The error message of `download_pipeline` for each name, with `endpoint` as the hub."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    result = subprocess.run(
        [sys.executable, "-c", ASK, *names], env=environment, capture_output=True, text=True, check=True
    )
    return dict(line.split("\t") for line in result.stdout.splitlines())


def test_each_answer_of_the_hub_has_its_own_way_out(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        said = ask(f"http://127.0.0.1:{server.server_port}", tmp_path, ANSWERS)
    finally:
        server.shutdown()
    assert {name: ANSWERS[name][2] in text for name, text in said.items()} == dict.fromkeys(ANSWERS, True), said
    assert all(text.startswith(f"params.yaml: base.model: 'someone/{name}': ") for name, text in said.items())


def test_hub_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    said = ask("http://127.0.0.1:9", tmp_path, ["gated"])
    assert "the hub cannot be reached and nothing is cached; check the network" in said["gated"]
