"""The stage `reconstruct`: every photo that generators may see as the VAE returns it, and no other photo."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from small import build_small

from sdaug.common.images import read_png, save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.diffusion.latents import reconstruct
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.fidelity.vae import squared_error

STAGE = Path(__file__).parents[1] / "stages" / "reconstruct.py"
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def test_it_writes_the_reconstructions_of_training_photos_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = [
        Photo(id=str(index), label="a", group=str(index), split="test" if fold < 0 else "train", fold=fold, sha256="")
        for index, fold in enumerate((1, 0, 1, -1))
    ]
    (tmp_path / "prepared" / "images").mkdir(parents=True)
    write_manifest(tmp_path / "prepared" / "manifest.csv", photos)
    for photo, pixels in zip(photos, PIXELS, strict=True):
        save_png(tmp_path / "prepared" / "images" / photo.file_name, pixels)
    pipeline = build_small()
    save_pipeline(pipeline, tmp_path / "base")
    split = {"protocol": "clean", "fold": 0, "validation_fraction": 0.2, "seed": 0}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"split": split}))
    words = ["--base", "base", "--prepared", "prepared", "--out", "out"]
    monkeypatch.setattr(sys, "argv", ["reconstruct.py", *words])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "of_another_base.png").touch()
    runpy.run_path(str(STAGE), run_name="__main__")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]
    wanted = reconstruct(pipeline.vae, PIXELS[[0, 2]])
    assert np.array_equal([read_png(tmp_path / "out" / f"{index}.png") for index in (0, 2)], wanted)


def test_error_of_an_image_with_itself_is_0_and_with_its_opposite_4() -> None:
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    assert (squared_error(black, black), squared_error(black, white)) == (0.0, 4.0)
