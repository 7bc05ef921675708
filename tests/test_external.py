"""Images that other tools drew, from their folder to the packed set: what is read, what is refused, what is a leak."""

import json
import runpy
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from line import edit_params
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_external_settings import PARAMETERS

from sdaug.check.external_folders import require_external
from sdaug.check.study import StudyParams, check_study
from sdaug.common.external_images import read_external
from sdaug.common.files import read_csv, write_text
from sdaug.common.manifest import read_manifest
from sdaug.common.provenance import write_record
from sdaug.common.sections import read_params

ROOT = Path(__file__).parents[1]
FOLDER = Path("data/external/flux")
SOURCE = {"folder": FOLDER.as_posix(), "seen": "unknown", "table": None, "class_names": {}, "ignore": []}
STAGES = {
    "prepare": "--out data/prepared --names data/names.csv --report metrics/prepare.json",
    "external": "--prepared data/prepared --out data/imported --metrics metrics/external.json",
    "audit_images": "--prepared data/prepared --names data/names.csv --base base --generators generators "
    "--synthetic synthetic --external data/imported --metrics metrics/audit_images.json",
    "split": "--dataset flux --prepared data/prepared --reconstructed none --synthetic synthetic "
    "--external data/imported --filter filter.csv --out data/packed/flux",
}


def draw(path: Path, seed: int, *, size: tuple[int, int] = (60, 48)) -> Path:
    """An image of smooth random blots, whose detail no other has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blots = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with 24 photos of one class and 12 of another, prepared, and 12 images of the rare one from elsewhere."""
    root = tmp_path_factory.mktemp("external")
    for label, count, first in (("common", 24, 0), ("rare", 12, 100)):
        for n in range(count):
            draw(root / "photos" / label / f"{n}.png", first + n)
    for n in range(12):
        draw(root / FOLDER / "rare" / f"{n}.{('png', 'jpg', 'webp', 'bmp')[n % 4]}", 200 + n, size=(90, 64))
    write_record(root / "base", [])
    write_record(root / "generators/rare/0", [])
    write_text(root / "synthetic/rare/manifest.csv", "id\n")
    (root / "dvc.yaml").write_text("stages: {external: {deps: ['${external.flux.folder}']}}")
    shutil.copy(ROOT / "params.yaml", root)
    edit_params(
        root,
        classes=["common", "rare"],
        concepts={"rare": {"instance_prompt": "a photo of a zwb leaf"}},
        prepare__raw="photos",
        prepare__group_pattern=None,
        prepare__split="made",
        prepare__num_folds=3,
        prepare__size_pixels=32,
        prepare__seed=0,
        external={"flux": SOURCE},
        datasets={"original": {"images": {}, "training": {}}, "flux": {"images": {"external": "flux"}, "training": {}}},
    )
    params = yaml.safe_load((root / "params.yaml").read_text())
    del params["phantom"]
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run_stages(root, "prepare")
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to be changed, and the folder in which the test runs."""
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "study"))
    return tmp_path / "study"


def run_stages(root: Path, *names: str) -> None:
    for name in names:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            patch.setattr("sys.argv", [f"{name}.py", *STAGES[name].split()])
            runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")


def check(root: Path) -> StudyParams:
    """What the stage `check` does before it builds models."""
    study = check_study(read_params(root / "params.yaml"), Path("params.yaml"))
    require_external(study, root / "dvc.yaml")
    return study


def needed(root: Path) -> int:
    """How many images the rare class lacks among the training photos."""
    labels = Counter(p.label for p in read_manifest(root / "data/prepared") if p.split == "train" and p.fold != 0)
    return labels["common"] - labels["rare"]


def packed(root: Path) -> list[dict[str, str]]:
    rows = read_csv(root / "data/packed/flux/examples.csv")
    return [row for row in rows if row["origin"] == "synthetic"]


def test_a_folder_of_any_format_becomes_the_images_that_the_class_lacks(root: Path) -> None:
    check(root)
    run_stages(root, "external", "audit_images", "split")
    images = read_external(root / "data/imported")
    assert len(images) == 12 and {image.original.split(".")[1] for image in images} == {"png", "jpg", "webp", "bmp"}
    with Image.open(root / "data/imported" / images[0].file_name) as image:
        assert image.size == (32, 32)
    rows = packed(root)
    assert len(rows) == needed(root) < 12
    assert {(row["label"], row["part"], row["draw"]) for row in rows} == {("rare", "train", "")}
    letter = json.loads((root / "metrics/external.json").read_text())
    assert letter["used"] == {"flux": {"source": "flux", "num_images": {"common": 0, "rare": needed(root)}}}
    assert json.loads((root / "metrics/audit_images.json").read_text())["num_synthetic"] == 12


def test_the_same_images_are_chosen_whatever_their_names(root: Path) -> None:
    run_stages(root, "external", "split")
    first = packed(root)
    for path in sorted((root / FOLDER / "rare").iterdir()):
        path.rename(path.with_name(f"renamed_{path.name}"))
    run_stages(root, "external", "split")
    assert packed(root) == first


def test_twice_the_multiple_takes_twice_as_many(root: Path) -> None:
    edit_params(root, datasets__flux__images={"external": "flux", "synthetic": 0.5})
    run_stages(root, "external", "split")
    assert len(packed(root)) == round(0.5 * needed(root))


def test_a_number_per_class_uses_images_of_the_largest_class_as_well(root: Path) -> None:
    for n in range(4):
        draw(root / FOLDER / "common" / f"{n}.png", 400 + n)
    edit_params(root, datasets__flux__images={"external": "flux", "per_class": 3})
    run_stages(root, "external", "split")
    assert Counter(row["label"] for row in packed(root)) == {"common": 3, "rare": 3}


def test_images_of_a_class_that_lacks_none_are_not_used(root: Path) -> None:
    draw(root / FOLDER / "common" / "0.png", 400)
    run_stages(root, "external", "split")
    assert {row["label"] for row in packed(root)} == {"rare"}
    letter = json.loads((root / "metrics/external.json").read_text())
    assert letter["sources"]["flux"]["num_images"] == {"common": 1, "rare": 12}


def test_settings_stand_in_the_manifest_and_as_they_were(root: Path) -> None:
    add_parameters(root / FOLDER / "rare" / "0.png")
    (root / FOLDER / "settings.csv").write_text("file,prompt,seed,model\nrare/1.jpg,a leaf,5,flux-dev\n")
    edit_params(root, external__flux__table="settings.csv")
    check(root)
    run_stages(root, "external")
    by_file = {image.original: image for image in read_external(root / "data/imported")}
    assert (by_file["rare/0.png"].seed, by_file["rare/0.png"].tool) == ("123456", "AUTOMATIC1111")
    assert by_file["rare/1.jpg"].caption == "a leaf; seed 5, model flux-dev, by table"
    (kept,) = (root / "data/imported/flux/settings").iterdir()
    assert kept.read_text() == PARAMETERS
    found = json.loads((root / "metrics/external.json").read_text())["sources"]["flux"]
    assert (found["num_with_settings"], found["models"]) == (2, ["flux-dev", "v1-5"])


def add_parameters(path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", PARAMETERS)
    with Image.open(path) as image:
        image.copy().save(path, pnginfo=info)


@pytest.mark.parametrize(("split", "side"), [("test", "test"), ("train", "fold 0")])
def test_a_copy_of_a_held_out_photo_is_a_leak_and_named_by_its_file(root: Path, split: str, side: str) -> None:
    names = {row["id"]: row["file"] for row in read_csv(root / "data/names.csv")}
    photo = next(
        p for p in read_manifest(root / "data/prepared") if p.split == split and p.label == "rare" and p.fold in (-1, 0)
    )
    with Image.open(root / "photos" / names[photo.id]) as image:
        image.convert("RGB").resize((120, 96)).save(root / FOLDER / "rare" / "new.jpg", quality=90)
    run_stages(root, "external")
    message = rf"error: audit: synthetic_copies: rare/new\.jpg \(external flux\), {names[photo.id]}: .* is in {side}"
    with pytest.raises(SystemExit, match=message):
        run_stages(root, "audit_images")
    edit_params(root, audit__on_leak="report")
    run_stages(root, "audit_images")
    assert json.loads((root / "metrics/audit_images.json").read_text())["verdict"] == "leak"


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "rare" / name).write_bytes(content)


def black(folder: Path) -> None:
    Image.new("RGB", (64, 64)).save(folder / "rare" / "blocked.png")


def same_in_two_classes(folder: Path) -> None:
    (folder / "common").mkdir()
    shutil.copy(folder / "rare" / "4.png", folder / "common")


def too_few(folder: Path) -> None:
    for path in sorted((folder / "rare").iterdir())[2:]:
        path.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (overwrite("x.png", b"no image"), r"error: data/external/flux/rare/x\.png: not a .* image: not usable; repair"),
        (
            overwrite("x.jpg", b""),
            r"rare/x\.jpg: empty file: not usable; .* name it in params.yaml: external.flux.ignore",
        ),
        (black, r"rare/blocked\.png: of a single colour: not usable"),
        (same_in_two_classes, r"common/4\.png and data/external/flux/rare/4\.png: the same image in two classes"),
        (
            too_few,
            r"params\.yaml: datasets\.flux\.images: needs \d+ of rare, and data/external/flux/rare has 2; draw more, "
            r"or set synthetic: 0\.\d+ in this arm",
        ),
    ],
)
def test_what_cannot_be_used_stops_the_stage(root: Path, change: Callable[[Path], object], message: str) -> None:
    change(root / FOLDER)
    with pytest.raises(SystemExit, match=message):
        run_stages(root, "external")
    assert not (root / "data/imported").exists()


def test_an_ignored_file_is_not_read(root: Path) -> None:
    black(root / FOLDER)
    edit_params(root, external__flux__ignore=["blocked*"])
    run_stages(root, "external")
    assert len(read_external(root / "data/imported")) == 12


def test_the_same_pixels_count_once(root: Path) -> None:
    shutil.copy(root / FOLDER / "rare" / "4.png", root / FOLDER / "rare" / "again.png")
    run_stages(root, "external")
    assert len(read_external(root / "data/imported")) == 12
    assert json.loads((root / "metrics/external.json").read_text())["sources"]["flux"]["num_duplicates"] == 1


def test_a_class_may_have_another_folder(root: Path) -> None:
    (root / FOLDER / "rare").rename(root / FOLDER / "Rare leaves")
    edit_params(root, external__flux__class_names={"rare": "Rare leaves"})
    check(root)
    run_stages(root, "external", "split")
    assert len(packed(root)) == needed(root)


def test_a_share_is_kept_of_those_that_the_filter_likes(root: Path) -> None:
    edit_params(root, datasets__flux__images={"external": "flux", "synthetic": 0.5, "keep_share": 0.75})
    run_stages(root, "external")
    images = read_external(root / "data/imported")
    lines = [f"{image.id},{n / 12}" for n, image in enumerate(images)]
    (root / "filter.csv").write_text("\n".join(["id,probability", *lines]) + "\n")
    run_stages(root, "split")
    assert {row["id"] for row in packed(root)} <= {image.id for image in images[3:]}


REFUSED: list[tuple[dict[str, Any], Callable[[Path], object], str]] = [
    (
        {"datasets__flux__images": {"external": "flix"}},
        lambda _: None,
        r"datasets\.flux\.images\.external: 'flix'; not an entry of section external, which has flux; `sdaug external",
    ),
    (
        {"datasets__flux__images": {"external": "flux", "variant": "near"}},
        lambda _: None,
        r"datasets\.flux\.images\.variant: 'near'; images from elsewhere have no variants",
    ),
    (
        {"external__flux__seen": "training", "cross_validate__folds": [1, 2]},
        lambda _: None,
        r"external\.flux\.seen: 'training'; the tool has seen photos that validate in other folds",
    ),
    (
        {"external__flux__seen": "some"},
        lambda _: None,
        r"external\.flux\.seen: 'some' is not allowed; choose from none",
    ),
    ({"external__flux__folder": "photos"}, lambda _: None, r"external\.flux\.folder: photos: the photos of the study"),
    (
        {"external": {"plain": SOURCE}, "datasets__flux__images": {}},
        lambda _: None,
        r"external\.plain: 'plain'; images",
    ),
    (
        {"external__flux__table": "a/b.csv"},
        lambda _: None,
        r"external\.flux\.table: 'a/b.csv'; need the name of a file",
    ),
    (
        {"external__flux__table": "b.csv"},
        lambda _: None,
        r"external\.flux\.table: data/external/flux/b.csv: no such file",
    ),
    ({"external__flux__class_names": {"odd": "x"}}, lambda _: None, r"external\.flux\.class_names: odd: not a class"),
    ({}, shutil.rmtree, r"external\.flux\.folder: data/external/flux: no such folder; give a folder of class folders"),
    (
        {},
        lambda folder: draw(folder / "odd" / "0.png", 1),
        r"external\.flux: data/external/flux/odd: a folder that is no",
    ),
    ({}, lambda folder: draw(folder / "0.png", 1), r"external\.flux: data/external/flux/0\.png: a picture outside"),
    ({}, overwrite("0.exr", b"x"), r"external\.flux: data/external/flux/rare/0\.exr: of a kind that is not read"),
    (
        {},
        lambda folder: (folder / "rare").rename(folder / "common"),
        r"external\.flux: no images of rare, which arm flux fills up; put some into data/external/flux/rare",
    ),
]


@pytest.mark.parametrize(("changes", "change", "message"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_what_does_not_fit_is_refused_before_anything_slow(
    root: Path, changes: dict[str, Any], change: Callable[[Path], object], message: str
) -> None:
    edit_params(root, **changes)
    change(root / FOLDER)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"^params\.yaml: {message}"):
        check(root)


@pytest.mark.parametrize(
    ("deps", "message"),
    [
        (["data/prepared"], r"stage external: does not depend on \$\{external\.flux\.folder\}, so that DVC would not"),
        (
            ["${external.flux.folder}", "${external.old.folder}"],
            r"stage external: depends on \$\{external\.old\.folder\}, which params.yaml lacks",
        ),
    ],
)
def test_a_folder_that_dvc_does_not_watch_is_refused(root: Path, deps: list[str], message: str) -> None:
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"external": {"cmd": "x", "deps": deps}}}))
    with pytest.raises(ValueError, match=rf"^dvc\.yaml: {message}"):
        check(root)


def test_a_study_without_such_images_has_an_empty_manifest(root: Path) -> None:
    edit_params(root, external={}, datasets={"flux": {"images": {}, "training": {}}})
    shutil.rmtree(root / FOLDER)
    run_stages(root, "external", "audit_images", "split")
    assert read_external(root / "data/imported") == [] and packed(root) == []
    assert json.loads((root / "metrics/external.json").read_text()) == {"sources": {}, "used": {}}
