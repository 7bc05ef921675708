"""What a killed DVC leaves half-written does not stop the next `sdaug grid`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sdaug.run.grid import find_changes
from sdaug.run.mend import KEPT, LOCK, RWLOCK, mend_files

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
GRAPH = """
stages:
  one: {cmd: echo 1 > one, outs: [one]}
  two: {cmd: cp one two, deps: [one], outs: [two]}
  three: {cmd: cp two three, deps: [two], outs: [three]}
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project of three stages that have run."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "dvc.yaml").write_text(GRAPH)
    for words in (["init", "-q", "--no-scm"], ["repro", "-q"]):
        subprocess.run(["dvc", *words], cwd=folder, check=True, env=os.environ | {"PATH": PATH})
    return folder


@pytest.fixture(autouse=True)
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it, as the working directory."""
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    shutil.copytree(template, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")


def test_half_a_file_of_each_kind_is_mended(capfd: pytest.CaptureFixture[str]) -> None:
    assert find_changes() == {}
    whole = LOCK.read_text()
    KEPT.unlink()
    RWLOCK.write_text("")
    LOCK.write_text(whole[: whole.index("three:") + 40])
    assert set(find_changes()) == {"three"}
    said = capfd.readouterr().err
    assert (
        "rwlock: left half-written" in said
        and "dvc.lock: left half-written by a process that was killed; 2 stages" in said
    )
    subprocess.run(["dvc", "repro", "-q"], check=True)
    assert LOCK.read_text() == whole and find_changes() == {}


def test_an_empty_dvc_lock_is_the_one_that_was_read_last() -> None:
    find_changes()
    whole = LOCK.read_text()
    LOCK.write_text("")
    assert find_changes() == {} and LOCK.read_text() == whole


def test_any_part_of_dvc_lock_is_mended_to_one_that_dvc_reads() -> None:
    whole = LOCK.read_text()
    stages = yaml.safe_load(whole)["stages"]
    for length in range(0, len(whole), 7):
        LOCK.write_text(whole[:length])
        mend_files(Path())
        kept = yaml.safe_load(LOCK.read_text()).get("stages", {}) if LOCK.exists() else {}
        # The last one may lack lines, which makes it stale.
        assert list(kept) == list(stages)[: len(kept)]
        assert all(kept[name] == stages[name] for name in list(kept)[:-1])


def test_whole_files_are_left_alone() -> None:
    before = LOCK.read_bytes(), RWLOCK.read_bytes()
    assert not mend_files(Path())
    assert (LOCK.read_bytes(), RWLOCK.read_bytes()) == before


def test_a_lock_that_was_merged_is_left_alone() -> None:
    LOCK.write_text(f"<<<<<<< ours\n{LOCK.read_text()}=======\n")
    before = LOCK.read_bytes()
    assert not mend_files(Path()) and LOCK.read_bytes() == before


def test_what_dvc_refuses_for_another_reason_is_refused() -> None:
    Path("dvc.yaml").write_text("stages: {one: {cmd: 3}}")
    with pytest.raises(ValueError, match="`dvc status` failed"):
        find_changes()
