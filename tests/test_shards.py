"""Shards of synthesis: any number of them leaves the bytes of an undivided run."""

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from small import build_small

from sdaug.common.files import read_json
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.sections import read_params
from sdaug.common.synthetic import read_synthetic
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.synthesize import synthesis
from sdaug.synthesize.shards import FACTS, Shard, read_shard, shards_dir

STAGE = Path(__file__).parents[1] / "stages" / "synthesize.py"
PARAMS = Path(__file__).parents[1] / "params.yaml"
OUT = Path("data/synthetic/rare")
METRICS = Path("metrics/rare.json")


@pytest.mark.parametrize(
    ("num_images", "sizes", "total"), [(11, [4, 4], 3), (5, [2, 3, 2], 4), (3, [8, 8], 5), (8, [4], 2)]
)
def test_shards_are_whole_batches_in_order(num_images: int, sizes: list[int], total: int) -> None:
    shares = [Shard(number=number, total=total).share(num_images, sizes) for number in range(1, total + 1)]
    for drawing, size in enumerate(sizes):
        parts = [share[drawing] for share in shares if share[drawing]]
        assert [index for part in parts for index in part] == list(range(num_images))
        assert all(part.start % size == 0 for part in parts)
    batches = [sum(-(-len(part) // size) for part, size in zip(share, sizes, strict=True)) for share in shares]
    assert max(batches) - min(batches) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "1/0"])
def test_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"--shard {text}; need NUMBER/TOTAL"):
        read_shard(text)


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generators of two draws."""
    folder = tmp_path_factory.mktemp("generators")
    for draw in (0, 1):
        save_pipeline(build_small(seed=draw), folder / str(draw))
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A study whose class `rare` lacks five images, as the working directory."""
    labels = ["rare"] * 4 + ["common"] * 10
    photos = [
        Photo(id=f"{n:012x}", label=label, group=f"g{n}", split="train", fold=int(n < 13), sha256=f"{n:064x}")
        for n, label in enumerate(labels)
    ]
    write_manifest(tmp_path / "prepared" / "manifest.csv", photos)
    monkeypatch.chdir(tmp_path)
    write_params(1)
    return tmp_path


def write_params(shards: int, **drawing: object) -> None:
    """Write the params.yaml of the study."""
    params = read_params(PARAMS)
    knobs = params["synthesize"]["drawing"] | {"inference_steps": 2, "batch_size": 2} | drawing
    synthesize = params["synthesize"] | {
        "shards": shards,
        "drawing": knobs,
        "variants": {"free": {"guidance_scale": 1.0}},
    }
    concept = next(iter(params["concepts"].values()))
    params |= {"synthesize": synthesize, "classes": ["rare", "common"], "concepts": {"rare": concept}}
    params |= {"generator_seeds": [0, 1], "prepare": params["prepare"] | {"size_pixels": 16}}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def run(generators: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """Run the stage."""
    inputs = f"--class rare --generator {generators} --base {generators}/0 --prepared prepared"
    monkeypatch.setattr(sys, "argv", [str(STAGE), *inputs.split(), "--out", str(OUT), "--metrics", str(METRICS), *more])
    runpy.run_path(str(STAGE), run_name="__main__")


def results() -> dict[str, bytes]:
    """What the stage has made."""
    return {path.name: path.read_bytes() for path in [*OUT.iterdir(), METRICS]}


def test_any_number_of_shards_leaves_the_bytes_of_an_undivided_run(
    folder: Path, generators: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(generators, monkeypatch)
    whole = results()
    assert len(read_synthetic(OUT)) == 5 * 2 * 2
    for total in (3, 20):  # the last one has more shards than batches
        write_params(total)
        for number in range(total, 0, -1):
            run(generators, monkeypatch, "--shard", f"{number}/{total}")
        with monkeypatch.context() as broken:
            broken.setattr(synthesis, "draw_images", None)  # nothing is drawn again
            run(generators, broken)
        assert results() == whole
        assert not shards_dir(OUT).exists() and list(folder.glob("data/synthetic/.*")) == []


def test_shards_of_other_settings_or_too_few_are_left_alone(generators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(2)
    for number in (1, 2):
        run(generators, monkeypatch, "--shard", f"{number}/2")
    write_params(2, guidance_scale=1.5)
    run(generators, monkeypatch)
    other = results()
    write_params(1, guidance_scale=1.5)
    run(generators, monkeypatch)
    assert results() == other
    write_params(2)
    run(generators, monkeypatch, "--shard", "2/2")
    run(generators, monkeypatch)
    assert {image.drawing.guidance_scale for image in read_synthetic(OUT)} == {2.0, 1.0}


def test_a_shard_that_is_there_is_not_drawn_again(generators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(2)
    run(generators, monkeypatch, "--shard", "1/2")
    monkeypatch.setattr(synthesis, "draw_images", None)
    run(generators, monkeypatch, "--shard", "1/2")
    assert not OUT.exists()


def test_shards_of_two_precisions_are_refused(generators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(2)
    for number in (1, 2):
        run(generators, monkeypatch, "--shard", f"{number}/2")
    manifest = Shard(number=1, total=2).folder(OUT) / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("fp32", "bf16"))
    with pytest.raises(SystemExit, match="drawn in bf16 and fp32; need one"):
        run(generators, monkeypatch)


def test_the_same_image_of_two_shards_is_refused(generators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(5)
    for number in range(1, 6):
        run(generators, monkeypatch, "--shard", f"{number}/5")
    parts = [Shard(number=number, total=5).folder(OUT) for number in (1, 2)]
    first, second = read_synthetic(parts[0]), read_synthetic(parts[1])
    assert read_json(parts[0] / FACTS)["num_images"] == len(first)
    same = next(image for image in second if (image.draw, image.variant) == (first[-1].draw, first[-1].variant))
    (parts[1] / same.file_name).write_bytes((parts[0] / first[-1].file_name).read_bytes())
    with pytest.raises(SystemExit, match=f"{first[-1].id} and {same.id}, from two shards, are the same image"):
        run(generators, monkeypatch)
