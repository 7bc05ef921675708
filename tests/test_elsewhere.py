"""Queued experiments, which run in a copy of the repository, and clones on machines without the photos."""

import re
import shutil
from pathlib import Path

import pytest
from line import edit_params, run

from sdaug.run.grid import is_without_photos

HOLDOUT = Path("src/sdaug/datasets/packing.py")
SAY = '\nprint("code of {}")\n'


def test_a_queued_experiment_runs_the_code_it_was_queued_with(clean: Path) -> None:
    with (clean / HOLDOUT).open("a") as stream:
        stream.write(SAY.format("then"))
    run(clean, "dvc", "exp", "run", "--queue", "-n", "then", "holdout")
    (clean / HOLDOUT).write_text((clean / HOLDOUT).read_text().replace("then", "later"))
    output = run(clean, "dvc", "exp", "run", "--run-all")
    assert "code of then" in output and "code of later" not in output


def test_a_queued_experiment_finds_photos_beside_the_checkout(clean: Path) -> None:
    edit_params(clean, prepare__raw="../photos")
    run(clean, "dvc", "repro", "prepare")
    link = clean / ".dvc" / "tmp" / "exps" / "photos"  # as docs/dvc.md says
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(clean.parent / "photos")
    try:
        output = run(clean, "dvc", "exp", "run", "--temp", "-S", "prepare.size_pixels=40", "prepare")
        assert "Running stage 'prepare'" in output and "Ran experiment" in output
    finally:
        link.unlink()


def test_a_colleague_without_the_photos_works_from_what_was_pulled(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    run(clean, "git", "clone", "-q", ".", str(clone))
    shutil.copytree(clean / ".dvc" / "cache" / "files", clone / ".dvc" / "cache" / "files")  # faster than a pull
    run(clone, "dvc", "checkout")
    photos = clean.parent / "photos"
    photos.rename(photos.with_name("away"))
    try:
        assert "up to date" in run(clone, "dvc", "repro", "--allow-missing")
        edit_params(clone, classifiers__other__learning_rate=5.0e-3)
        output = run(clone, "dvc", "repro", "--allow-missing", "train@other-original")
        assert "train@other-original" in re.findall(r"^Running stage '(\S+)':$", output, re.MULTILINE)
        assert "prepare" not in re.findall(r"^Running stage '(\S+)':$", output, re.MULTILINE)
        assert "error: " in run(clone, "dvc", "repro", ok=False)
        assert list((clone / "data" / "prepared" / "images").iterdir())
        assert (clone / "data" / "names.csv").is_file() and (clone / "metrics" / "prepare.json").is_file()
        monkeypatch.chdir(clone)
        assert is_without_photos()
    finally:
        photos.with_name("away").rename(photos)
    monkeypatch.chdir(clone)
    assert not is_without_photos()
