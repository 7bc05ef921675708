"""`sdaug external`: a folder becomes a section, an arm and a dependency; a refusal leaves all as it was."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from line import run
from PIL import Image

from sdaug.check.external_folders import require_external
from sdaug.check.study import check_study
from sdaug.common.sections import read_params
from sdaug.run.cli import main

ROOT = Path(__file__).parents[1]
RARE = ("score_1", "score_3", "score_4")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the study's two files, and a folder of images."""
    for name in ("params.yaml", "dvc.yaml", ".gitignore"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "data/phantom").mkdir(parents=True)
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "git", "add", "params.yaml", "dvc.yaml", ".gitignore")
    run(tmp_path, "git", "commit", "-qm", "study")
    for label in RARE:
        folder = tmp_path / "drawn" / "FLUX images" / label
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "0.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def external(*words: str) -> None:
    main(["external", "drawn/FLUX images", *words])


@pytest.mark.usefixtures("checkout")
def test_the_folder_becomes_a_section_an_arm_and_a_dependency(capsys: pytest.CaptureFixture[str]) -> None:
    external("--seen", "none", "--ignore", "*_grid.png")
    params = read_params(Path("params.yaml"))
    assert params["external"] == {
        "flux_images": {
            "folder": "drawn/FLUX images",
            "seen": "none",
            "table": None,
            "class_names": {},
            "ignore": ["*_grid.png"],
        }
    }
    assert params["datasets"]["flux_images"] == {"images": {"external": "flux_images"}, "training": {}}
    assert yaml.safe_load(Path("dvc.yaml").read_text())["stages"]["external"]["deps"][0] == (
        "${external.flux_images.folder}"
    )
    require_external(check_study(params, Path("params.yaml")), Path("dvc.yaml"))
    said = capsys.readouterr().out
    assert "score_4: 1 images" in said and "Git ignores drawn/FLUX images/ from now on" in said


@pytest.mark.usefixtures("checkout")
def test_no_other_line_of_the_study_changes() -> None:
    external()
    changed = subprocess.run(
        ["git", "diff", "--numstat", "params.yaml", "dvc.yaml"], capture_output=True, text=True, check=True
    )
    assert [line.split() for line in changed.stdout.splitlines()] == [
        ["1", "0", "dvc.yaml"],
        ["11", "1", "params.yaml"],
    ]
    assert "    seen: unknown\n\nfidelity: # judges" in Path("params.yaml").read_text()
    assert "external: # images from elsewhere" in Path("params.yaml").read_text()


def test_two_folders_stand_beside_each_other(checkout: Path) -> None:
    external()
    run(checkout, "git", "commit", "-qam", "one")
    external("--name", "again")
    assert list(read_params(Path("params.yaml"))["external"]) == ["flux_images", "again"]
    deps = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]["external"]["deps"]
    assert deps[:2] == ["${external.flux_images.folder}", "${external.again.folder}"]


@pytest.mark.usefixtures("checkout")
def test_folders_that_are_called_as_their_photos_are_found() -> None:
    Path("drawn/FLUX images/score_4").rename("drawn/FLUX images/Score_4")
    external("--name", "flux")
    assert read_params(Path("params.yaml"))["external"]["flux"]["class_names"] == {"score_4": "Score_4"}


def test_adopting_a_preset_drops_the_dependencies_of_another_study(checkout: Path) -> None:
    external()
    run(checkout, "git", "commit", "-qam", "one")
    for label in (*RARE, "score_2"):
        for part in ("train", "test"):
            folder = Path("photos") / part / label
            folder.mkdir(parents=True)
            for n in range(40 if label == "score_2" else 12):
                (folder / f"{part}{label}{n}.png").write_bytes(f"{part}{label}{n}".encode())
    main(["adopt", "photos", "--subject", "leaf"])
    assert read_params(Path("params.yaml"))["external"] == {}
    assert "${external." not in Path("dvc.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "augmented"], r"params\.yaml: datasets\.augmented: exists; give another --name"),
        (["--name", "Flux"], r"datasets.Flux: 'Flux'; need a name of a-z"),
        (["--table", "settings.csv"], r"external\.flux_images\.table: .*settings\.csv: no such file"),
    ],
)
def test_a_refusal_leaves_all_as_it_was(checkout: Path, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        external(*words)
    assert run(checkout, "git", "status", "--porcelain", "params.yaml", "dvc.yaml") == ""


@pytest.mark.usefixtures("checkout")
def test_unsaved_changes_are_not_written_over() -> None:
    with Path("params.yaml").open("a") as stream:
        stream.write("\n")
    with pytest.raises(SystemExit, match=r"params\.yaml: has uncommitted changes"):
        external()
