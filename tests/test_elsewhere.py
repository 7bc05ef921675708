"""Queued experiments, which run in a copy of the repository, and clones on machines without the photos."""

import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from line import ROOT, copy_checkout, edit_params, run

from sdaug.common.images import save_png
from sdaug.run.grid import is_without_photos, link_photos

pytestmark = [pytest.mark.xdist_group("line"), pytest.mark.slow]  # in one process, which runs their study once

STAGE = """import _source
from pathlib import Path
from sdaug.word import WORD
Path("word.txt").write_text(WORD)
"""
GRAPH = """stages:
  say:
    cmd: python stages/say.py
    deps: [src/sdaug, stages/say.py]
    outs: [{word.txt: {cache: false}}]
"""


def test_a_queued_experiment_runs_the_code_it_was_queued_with(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    word = folder / "src" / "sdaug" / "word.py"
    word.parent.mkdir(parents=True)
    (folder / "stages").mkdir()
    shutil.copy(ROOT / "stages" / "_source.py", folder / "stages")
    (folder / "stages" / "say.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / ".gitignore").write_text("__pycache__/\n")
    (word.parent / "__init__.py").touch()
    word.write_text("WORD = 'committed'\n")
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    (folder / ".dvcignore").write_text("__pycache__/\n")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "study")
    word.write_text("WORD = 'queued'\n")
    run(folder, "dvc", "exp", "run", "--queue", "-n", "queued")
    word.write_text("WORD = 'edited since'\n")
    run(folder, "dvc", "exp", "run", "--run-all")
    run(folder, "git", "restore", ".")
    run(folder, "dvc", "exp", "apply", "queued")
    assert (folder / "word.txt").read_text() == "queued"


def test_a_queued_experiment_finds_photos_beside_the_checkout(clean: Path) -> None:
    edit_params(clean, prepare__raw="../photos")
    run(clean, "dvc", "repro", "prepare")
    with chdir(clean):
        link_photos(Path("../photos"))  # as `sdaug grid` does
    output = run(clean, "dvc", "exp", "run", "--temp", "-S", "prepare.size_pixels=40", "prepare")
    assert "Running stage 'prepare'" in output and "Ran experiment" in output


def test_a_queued_experiment_finds_photos_in_the_checkout_that_dvc_tracks(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    copy_checkout(folder)
    for results in ("metrics", "report"):
        shutil.rmtree(folder / results)
    (folder / "dvc.lock").unlink()
    for label, count in (("squares", 9), ("stripes", 14)):
        (folder / "data" / "photos" / label).mkdir(parents=True)
        for n in range(count):
            pixels = np.random.default_rng([n, count]).integers(0, 256, (48, 48, 3), dtype=np.uint8)
            save_png(folder / "data" / "photos" / label / f"{n}.png", pixels)
    run(folder, "sdaug", "adopt", "data/photos", "--subject", "pattern")
    edit_params(folder, classifiers={"custom": {"architecture": "custom"}})
    run(folder, "dvc", "add", "data/photos")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "own photos")
    assert "data/photos.dvc" in run(folder, "git", "ls-files", "data")
    run(folder, "dvc", "exp", "run", "--queue", "-n", "small", "-S", "prepare.size_pixels=40", "prepare")
    run(folder, "dvc", "exp", "run", "--run-all")
    # Not applied: all other stages have no results yet.
    found = run(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (experiment,) = [name for name in found if name.endswith("/small")]
    counts = json.loads(run(folder, "git", "show", f"{experiment}:metrics/prepare.json"))
    assert sum(count for key, count in counts.items() if key.startswith(("train.", "test."))) == 23
    assert "size_pixels: 40" in run(folder, "git", "show", f"{experiment}:params.yaml")


def test_photos_are_linked_for_queued_and_for_temporary_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "cows").mkdir(parents=True)
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    for _ in range(2):
        link_photos(Path("../photos"))
    exps = Path(".dvc/tmp/exps")
    assert [(folder / "photos" / "cows").is_dir() for folder in (exps, exps / "standalone")] == [True, True]


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
