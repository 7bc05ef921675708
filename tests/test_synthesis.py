"""Synthesis: what cannot be right is drawn again, and a manifest row is enough to draw an image again."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from smallest import SMALLEST
from test_sampling import DRAWING

from sdaug import cli
from sdaug.diffusion import synthesis
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.diffusion.sampling import DrawnImage
from sdaug.diffusion.synthesis import drawing_of, find_fault, find_row, image_seed, redraw, synthesize
from sdaug.diffusion.tiny import build_tiny
from sdaug.images import read_png
from sdaug.precision import name_precision, resolve_precision

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
DULL = np.zeros_like(NOISE)
DULL[:, :8] = 128


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return build_tiny(SMALLEST, size_pixels=16)


@pytest.fixture(scope="module")
def folder(pipeline: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with five synthetic images of one class, and the generator that drew them."""
    root = tmp_path_factory.mktemp("study")
    out_dir = root / "data" / "synthetic" / "rare"
    out_dir.mkdir(parents=True)
    synthesize(pipeline, DRAWING, label="rare", num_images=5, seed=0, out_dir=out_dir)
    save_pipeline(pipeline, root / "models" / "dreambooth" / "rare")
    return root


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "data" / "synthetic" / "rare" / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def fake_images(monkeypatch: pytest.MonkeyPatch, images: dict[int, DrawnImage]) -> None:
    """Draw these for some seeds, and noise of its own for any other."""

    def draw(_: Any, __: Any, seeds: Sequence[int], *, title: str) -> list[DrawnImage]:
        del title
        noise = {s: np.random.default_rng(s).integers(0, 256, NOISE.shape, dtype=np.uint8) for s in seeds}
        return [images.get(s, DrawnImage(s, noise[s], True)) for s in seeds]

    monkeypatch.setattr(synthesis, "draw_images", draw)


@pytest.mark.parametrize(
    ("pixels", "is_finite", "fault"),
    [
        (NOISE, True, None),
        (np.full_like(NOISE, 77), True, "constant"),
        (DULL, True, "few_levels"),
        (NOISE, False, "not_finite"),
    ],
)
def test_fault_of_an_image(pixels: NDArray[np.uint8], is_finite: bool, fault: str | None) -> None:
    assert find_fault(DrawnImage(0, pixels, is_finite), set()) == fault


def test_second_image_of_the_same_bytes_is_a_duplicate() -> None:
    seen: set[bytes] = set()
    images = [DrawnImage(0, pixels, True) for pixels in (NOISE, 255 - NOISE, NOISE)]
    assert [find_fault(image, seen) for image in images] == [None, None, "duplicate"]


def test_rejected_images_are_counted_and_drawn_with_their_next_seed(
    pipeline: StableDiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [image_seed(0, "rare", index, 0) for index in range(4)]
    broken = {seeds[1]: DrawnImage(seeds[1], DULL, False)}
    fake_images(monkeypatch, broken | {seed: DrawnImage(seed, NOISE, True) for seed in seeds[2:]})
    counts = synthesize(pipeline, DRAWING, label="rare", num_images=4, seed=0, out_dir=tmp_path)
    assert counts == {"num_images": 4, "num_not_finite": 1, "num_constant": 0, "num_few_levels": 0, "num_duplicate": 1}
    with (tmp_path / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    again = [image_seed(0, "rare", index, 1) for index in (1, 3)]
    assert [int(row["seed"]) for row in rows] == [seeds[0], again[0], seeds[2], again[1]]
    assert all((tmp_path / row["file"]).is_file() for row in rows) and len(list(tmp_path.glob("*.png"))) == 4


def test_broken_generator_is_given_up(tmp_path: Path) -> None:
    pipeline = build_tiny(SMALLEST, size_pixels=16)
    pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"rare: 2 of 2 images were rejected 10 times over \(20 not_finite\)"):
        synthesize(pipeline, DRAWING, label="rare", num_images=2, seed=0, out_dir=tmp_path)


def test_number_of_images_in_one_run_does_not_change_an_image(folder: Path, tmp_path: Path) -> None:
    synthesize(build_tiny(SMALLEST, size_pixels=16), DRAWING, label="rare", num_images=2, seed=0, out_dir=tmp_path)
    for file in tmp_path.glob("*.png"):
        assert file.read_bytes() == (folder / "data" / "synthetic" / "rare" / file.name).read_bytes()


def test_manifest_row_holds_all_settings(folder: Path) -> None:
    assert {drawing_of(row, where="row") for row in read_rows(folder)} == {DRAWING}


def test_manifest_row_says_what_auto_meant(pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    synthesize(pipeline, replace(DRAWING, precision="auto"), label="rare", num_images=1, seed=0, out_dir=tmp_path)
    with (tmp_path / "manifest.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["precision"] == name_precision(resolve_precision("auto", pipeline.device))


def test_redrawn_image_is_the_same(folder: Path, pipeline: StableDiffusionPipeline) -> None:
    row = find_row(folder / "data" / "synthetic", read_rows(folder)[3]["id"])
    known = read_png(folder / "data" / "synthetic" / "rare" / row["file"])
    assert np.abs(redraw(pipeline, row).astype(int) - known).max() <= 1


def test_settings_of_the_row_are_obeyed(folder: Path, pipeline: StableDiffusionPipeline) -> None:
    row = read_rows(folder)[0]
    known = read_png(folder / "data" / "synthetic" / "rare" / row["file"])
    assert not np.array_equal(redraw(pipeline, row | {"inference_steps": "5"}), known)


def test_unknown_id_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="synthetic-1: in none of 1 manifests"):
        find_row(folder / "data" / "synthetic", "synthetic-1")


def test_redraw_writes_the_image_and_compares(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    image_id, out = read_rows(folder)[0]["id"], tmp_path / "again.png"
    cli.main(["redraw", image_id, "--out", str(out)])
    assert out.is_file() and "difference from" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="exists; give another file"):
        cli.main(["redraw", image_id, "--out", str(out)])
