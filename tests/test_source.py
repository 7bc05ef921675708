"""Where a base comes from: the hub's commit is recorded, and a loaded base needs only the photos that are shown."""

import json
import runpy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from small import BASE, build_small

from sdaug.base.source import Base, make_base
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.provenance import SEEN, UNKNOWN, read_seen
from sdaug.diffusion.pipelines import save_pipeline

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]
OLD, NEW = "0123456789" * 4, "abcdef0123" * 4
PHOTOS = np.random.default_rng(0).integers(0, 256, (14, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "base"
    save_pipeline(build_small(), path)
    return path


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a model in a cache laid out as the hub's client does it: two commits, `main` is the newer one."""
    model = tmp_path / "cache" / "models--someone--small"
    for commit in (OLD, NEW):
        shutil.copytree(folder, model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(NEW)
    (model / "refs" / "v1").write_text(OLD)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    yield "someone/small"


def load(**changes: Any) -> Base:
    return make_base(replace(BASE, **changes), PHOTOS, CPU, lambda *_: None)


@pytest.mark.parametrize(("revision", "commit"), [(None, NEW), ("main", NEW), ("v1", OLD), (OLD, OLD)])
def test_commit_of_the_hub_is_known_whatever_names_it(hub: str, revision: str | None, commit: str) -> None:
    base = load(model=hub, revision=revision)
    assert base.source == {"model": hub, "commit": commit, "variant": None}
    assert base.pipeline.unet is not None


def test_weights_are_those_of_the_commit_that_is_named(hub: str, tmp_path: Path) -> None:
    old = tmp_path / "cache" / "models--someone--small" / "snapshots" / OLD
    other = build_small(seed=1)
    shutil.rmtree(old)
    save_pipeline(other, old)
    assert torch.equal(load(model=hub, revision="v1").pipeline.unet.conv_in.weight, other.unet.conv_in.weight)


def test_local_folder_names_no_source(folder: Path) -> None:
    assert load(model=str(folder)).source is None


def write_study(folder: Path, model: str) -> None:
    """The params file and the prepared photos of a study that starts from a model."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["base"]["model"] = model
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "prepared" / "images").mkdir(parents=True)
    photos = [
        Photo(id=f"{index:02}", label="score_1", group=str(index), split="train", fold=int(index > 0), sha256="")
        for index in range(len(PHOTOS))
    ]
    for photo, pixels in zip(photos, PHOTOS, strict=True):
        save_png(folder / "prepared" / "images" / photo.file_name, pixels)
    write_manifest(folder / "prepared" / "manifest.csv", photos)


def run_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SDAUG_MLFLOW", "off")
    words = ["base", "--prepared", "prepared", "--out", "out", "--history", "base.csv", "--seen", "seen.json"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "stages" / "base.py"), run_name="__main__")
    return folder / "out"


def test_stage_writes_the_commit_next_to_the_weights(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path, hub)
    written = json.loads((run_base(tmp_path, monkeypatch) / "source.json").read_text())
    assert written == {"model": hub, "commit": NEW, "variant": None}
    assert read_seen(tmp_path / "seen.json") == read_seen(tmp_path / "out" / SEEN) == UNKNOWN


def test_stage_writes_no_source_for_a_folder_and_reads_no_photo_that_it_does_not_show(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path, str(folder))
    for photo in sorted((tmp_path / "prepared" / "images").iterdir())[13:]:
        photo.unlink()
    assert not (run_base(tmp_path, monkeypatch) / "source.json").exists()


def test_base_adapts_to_the_photos_and_keeps_its_vae(folder: Path) -> None:
    plain, adapted = (load(model=str(folder), adapt_steps=steps).pipeline for steps in (0, 3))
    assert not torch.equal(plain.unet.conv_in.weight, adapted.unet.conv_in.weight)
    for part in ("vae", "text_encoder"):
        before, after = getattr(plain, part).state_dict(), getattr(adapted, part).state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_adapting_lowers_the_loss_on_the_photos(folder: Path) -> None:
    met: list[float] = []
    params = replace(BASE, model=str(folder), adapt_steps=150, adapt_learning_rate=3.0e-3, adapt_batch_size=8)
    make_base(params, PHOTOS, CPU, lambda _, values: met.append(values["adapt_loss"]))
    assert len(met) == 6 and np.mean(met[-2:]) < np.mean(met[:2])
