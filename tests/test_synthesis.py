"""Synthesis: faulty images are resampled, and a manifest row is enough to regenerate an image."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from small import build_small
from test_sampling import FROM_NOISE as DRAWING
from test_sampling import PROMPT

from sdaug.common.faults import find_fault
from sdaug.common.images import read_png
from sdaug.common.params import SynthesisDrawing
from sdaug.common.precision import name_precision, resolve_precision
from sdaug.common.synthetic import PLAIN, SyntheticImage, find_synthetic, read_synthetic, write_synthetic
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.diffusion.redraw import redraw
from sdaug.diffusion.sampling import DrawnImage
from sdaug.run import cli
from sdaug.synthesize import synthesis
from sdaug.synthesize.synthesis import Order, image_seed, synthesize

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
NO_PHOTOS = Path("nowhere")  # for images that start from noise
DULL = np.zeros_like(NOISE)
DULL[:, :8] = 128


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return build_small()


@pytest.fixture(scope="module")
def folder(pipeline: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study folder with five synthetic images of one class and their generator."""
    root = tmp_path_factory.mktemp("study")
    out_dir = root / "data" / "synthetic" / "rare"
    out_dir.mkdir(parents=True)
    draw_class(pipeline, DRAWING, num_images=5, out_dir=out_dir)
    save_pipeline(pipeline, root / "models" / "dreambooth" / "rare" / "0")
    return root


def draw_class(
    pipeline: StableDiffusionPipeline, drawing: SynthesisDrawing, *, num_images: int, out_dir: Path
) -> dict[str, int]:
    """Draw images with one generator and write their manifest; returns the counts of `synthesize`."""
    order = Order(
        label="rare",
        draw=0,
        variant=PLAIN,
        prompt=PROMPT,
        drawing=drawing,
        size_pixels=16,
        num_images=num_images,
    )
    images, counts = synthesize(pipeline, order, out_dir)
    write_synthetic(out_dir, images)
    return counts


def images_of(folder: Path) -> list[SyntheticImage]:
    return read_synthetic(folder / "data" / "synthetic" / "rare")


def fake_images(monkeypatch: pytest.MonkeyPatch, images: dict[int, DrawnImage]) -> None:
    """Make sampling return the given images for their seeds, and distinct noise for all other seeds."""

    def draw(_: Any, __: Any, ___: Any, seeds: Sequence[int], **____: Any) -> list[DrawnImage]:
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
    assert find_fault(pixels, set(), is_finite=is_finite) == fault


def test_second_image_of_the_same_bytes_is_a_duplicate() -> None:
    seen: set[bytes] = set()
    assert [find_fault(pixels, seen) for pixels in (NOISE, 255 - NOISE, NOISE)] == [None, None, "duplicate"]


def test_rejected_images_are_counted_and_drawn_with_their_next_seed(
    pipeline: StableDiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [image_seed(0, "rare", index, 0) for index in range(4)]
    broken = {seeds[1]: DrawnImage(seeds[1], DULL, False)}
    fake_images(monkeypatch, broken | {seed: DrawnImage(seed, NOISE, True) for seed in seeds[2:]})
    counts = draw_class(pipeline, DRAWING, num_images=4, out_dir=tmp_path)
    assert counts == {"num_images": 4, "num_not_finite": 1, "num_constant": 0, "num_few_levels": 0, "num_duplicate": 1}
    images = read_synthetic(tmp_path)
    again = [image_seed(0, "rare", index, 1) for index in (1, 3)]
    assert [image.seed for image in images] == [seeds[0], again[0], seeds[2], again[1]]
    assert {image.file_name for image in images} == {path.name for path in tmp_path.glob("*.png")}


def test_broken_generator_is_given_up(tmp_path: Path) -> None:
    pipeline = build_small()
    pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"rare: 2 of 2 images were rejected 10 times in a row \(20 not_finite\)"):
        draw_class(pipeline, DRAWING, num_images=2, out_dir=tmp_path)


def test_number_of_images_in_one_run_does_not_change_an_image(folder: Path, tmp_path: Path) -> None:
    draw_class(build_small(), DRAWING, num_images=2, out_dir=tmp_path)
    for file in tmp_path.glob("*.png"):
        assert file.read_bytes() == (folder / "data" / "synthetic" / "rare" / file.name).read_bytes()


def test_draws_have_images_of_their_own() -> None:
    seeds = [{image_seed(draw, "rare", index, 0) for index in range(50)} for draw in range(3)]
    assert len(set.union(*seeds)) == 150


def test_manifest_row_holds_all_settings(folder: Path) -> None:
    assert {(image.draw, image.prompt, image.height, image.width, image.drawing) for image in images_of(folder)} == {
        (0, PROMPT, 16, 16, DRAWING)
    }


def test_manifest_row_says_what_auto_meant(tmp_path: Path) -> None:
    pipeline = build_small()  # not the shared fixture, since the weights are cast in place
    draw_class(pipeline, replace(DRAWING, precision="auto"), num_images=1, out_dir=tmp_path)
    (image,) = read_synthetic(tmp_path)
    assert image.drawing.precision == name_precision(resolve_precision("auto", pipeline.device))


def test_redrawn_image_is_the_same(folder: Path, pipeline: StableDiffusionPipeline) -> None:
    image = find_synthetic(folder / "data" / "synthetic", images_of(folder)[3].id)
    known = read_png(folder / "data" / "synthetic" / "rare" / image.file_name)
    assert np.abs(redraw(pipeline, [image], NO_PHOTOS, title="again")[0].astype(int) - known).max() <= 1


def test_settings_of_the_row_are_obeyed(folder: Path, pipeline: StableDiffusionPipeline) -> None:
    image = images_of(folder)[0]
    known = read_png(folder / "data" / "synthetic" / "rare" / image.file_name)
    other = replace(image, drawing=replace(image.drawing, inference_steps=5))
    assert not np.array_equal(redraw(pipeline, [other], NO_PHOTOS, title="again")[0], known)


def test_unknown_id_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="synthetic-1: in none of 1 manifests"):
        find_synthetic(folder / "data" / "synthetic", "synthetic-1")


def test_manifest_without_an_image_is_refused(pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    draw_class(pipeline, DRAWING, num_images=2, out_dir=tmp_path)
    next(tmp_path.glob("*.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"seed_\d+\.png: in the manifest but missing; run `dvc repro synth"):
        read_synthetic(tmp_path)


def test_row_that_breaks_a_rule_is_named(pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    draw_class(pipeline, DRAWING, num_images=1, out_dir=tmp_path)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("dpm_solver", "magic"))
    with pytest.raises(ValueError, match=r"manifest\.csv: synthetic-\d+\.drawing\.sampler: 'magic' is not allowed"):
        read_synthetic(tmp_path)


def test_redraw_writes_the_image_and_compares(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    image_id, out = images_of(folder)[0].id, tmp_path / "again.png"
    cli.main(["redraw", image_id, "--out", str(out)])
    assert out.is_file() and "difference from" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="exists; give another file"):
        cli.main(["redraw", image_id, "--out", str(out)])
