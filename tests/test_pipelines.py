"""Pipelines on disc: the plain diffusers layout, in the same bytes each time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from smallest import SMALLEST

from sdaug.diffusion.pipelines import download_pipeline, load_pipeline, save_pipeline
from sdaug.diffusion.tiny import build_tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "base"
    save_pipeline(build_tiny(SMALLEST, size_pixels=16), path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_saved_pipeline_loads_with_plain_diffusers(folder: Path, part: str) -> None:
    loaded = getattr(StableDiffusionPipeline.from_pretrained(folder), part).state_dict()
    built = getattr(build_tiny(SMALLEST, size_pixels=16), part).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in built.items())


def test_tokenizer_comes_back(folder: Path) -> None:
    prompt = "a photo of a zwa teat end, größe 3"
    built = build_tiny(SMALLEST, size_pixels=16).tokenizer(prompt).input_ids
    assert load_pipeline(folder, CPU).tokenizer(prompt).input_ids == built


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_pipeline(build_tiny(SMALLEST, size_pixels=16), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


def test_saving_what_was_loaded_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    save_pipeline(load_pipeline(folder, CPU), tmp_path / "again")
    before, after = contents(folder), contents(tmp_path / "again")
    weights = [name for name in before if name.endswith(".safetensors")]
    assert len(weights) == 3 and all(before[name] == after[name] for name in weights)


def test_no_file_names_the_folder_that_it_was_loaded_from(folder: Path, tmp_path: Path) -> None:
    save_pipeline(load_pipeline(folder, CPU), tmp_path / "again")
    assert not any(folder.as_posix().encode() in content for content in contents(tmp_path / "again").values())


def test_loaded_pipeline_is_ready_for_training(folder: Path) -> None:
    scheduler = load_pipeline(folder, CPU).scheduler
    assert isinstance(scheduler, DDIMScheduler) and scheduler.config.prediction_type == "v_prediction"


def test_folder_without_a_unet_is_refused(tmp_path: Path) -> None:
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        (tmp_path / name).mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="no unet; need a Stable Diffusion in the diffusers layout"):
        load_pipeline(tmp_path, CPU)


def test_model_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no such\nrepository")

    monkeypatch.setattr(StableDiffusionPipeline, "from_pretrained", fail)
    with pytest.raises(ValueError, match=r"base\.model: 'someone/model'; .*no such repository.*base\.model: tiny"):
        download_pipeline("someone/model", None)
