"""What stages of one class read of the photos: with dozens of classes, the whole folder would be read as often."""

import json
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import yaml

from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest

ROOT = Path(__file__).parents[1]
CLASSES = ("score_1", "score_2", "score_3", "score_4")
COUNTS = (6, 8, 4, 3)


def test_no_stage_of_one_class_lists_all_classes() -> None:
    """Or dvc.lock would grow with their square, and DVC reads and writes it with every stage."""
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    of_one = [stage for stage in graph.values() if "class" in stage.get("matrix", {})]
    assert of_one and not [stage["cmd"] for stage in of_one if {"classes", "concepts"} & set(stage["params"])]


class Known(Exception):
    """The key of the work is known."""


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A prepared folder of 21 photos, each with pixels of its own."""
    photos = []
    (tmp_path / "prepared" / "images").mkdir(parents=True)
    for k, (label, count) in enumerate(zip(CLASSES, COUNTS, strict=True)):
        for n in range(count):
            index = 100 * k + n
            photo = Photo(
                id=f"{index:012x}", label=label, group=f"g{index}", split="train", fold=n % 4, sha256="0" * 64
            )
            save_png(tmp_path / "prepared" / "images" / photo.file_name, np.full((8, 8, 3), index % 251, np.uint8))
            photos.append(photo)
    write_manifest(tmp_path / "prepared" / "manifest.csv", photos)
    return tmp_path / "prepared"


def inputs_of(stage: str, prepared: Path, monkeypatch: pytest.MonkeyPatch, **drawing: object) -> Sequence[Path]:
    """The files that the stage of class `score_4` makes its key of."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["synthesize"]["drawing"] |= drawing
    (prepared.parent / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.syspath_prepend(ROOT / "stages")
    spec = spec_from_file_location(f"stage_{stage}", ROOT / "stages" / f"{stage}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found = list[Path]()

    def note(_: object, inputs: Sequence[Path]) -> str:
        found.extend(inputs)
        raise Known

    monkeypatch.setattr(module, "work_key", note)
    words = f"--params {prepared.parent}/params.yaml --class score_4 --base base --prepared {prepared} --out out"
    if stage == "dreambooth":
        monkeypatch.setattr(module, "check_settings", lambda *_: None)
        monkeypatch.setattr(module, "read_class_images", lambda _: np.zeros((1, 8, 8, 3), np.uint8))
        words += " --class-images class_images --history history"
    else:
        (prepared.parent / "classes.json").write_text(json.dumps({"classes": CLASSES}))
        words += f" --generator generator --classes {prepared.parent}/classes.json --metrics metrics.json"
    monkeypatch.setattr(sys, "argv", [stage, *words.split()])
    with pytest.raises(Known):
        module.main()
    return found


def photos_in(found: Sequence[Path], prepared: Path) -> list[str]:
    assert prepared not in found
    return sorted(path.stem for path in found if prepared in path.parents)


def test_dreambooth_reads_the_photos_of_its_class_alone(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = inputs_of("dreambooth", prepared, monkeypatch)
    assert photos_in(found, prepared) == [f"{place:012x}" for place in (301, 302)]  # photo 0 is in the validation fold


@pytest.mark.parametrize(
    ("drawing", "places"),
    [
        ({}, []),
        ({"start": "photo", "strength": 0.5}, [301, 302]),
        ({"start": "neighbour", "strength": 0.5}, [201, 202, 203]),
    ],
)
def test_synthesize_reads_the_photos_that_its_images_start_from(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, drawing: dict[str, object], places: list[int]
) -> None:
    found = inputs_of("synthesize", prepared, monkeypatch, **drawing)
    assert photos_in(found, prepared) == [f"{place:012x}" for place in places]
