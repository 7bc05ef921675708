"""dvc.lock has its stages in one order, in whichever they ended."""

import subprocess
from pathlib import Path

import pytest

from sdaug.run.lock_order import LOCK, locked_stages, sort_lock

GRAPH = """
stages:
  train:
    matrix: {arm: [one, two, three]}
    cmd: mkdir -p out && echo ${item.arm} > out/${item.arm}
    outs: ["out/${item.arm}"]
  sum:
    cmd: cat out/* > sum
    deps: [out/one, out/two]
    outs: [sum]
"""
STAGES = ["train@one", "train@two", "train@three", "sum"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project, as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    subprocess.run(["dvc", "init", "-q", "--no-scm"], check=True)
    return tmp_path


def repro(*stages: str) -> None:
    for stage in stages:
        subprocess.run(["dvc", "repro", "-q", "-s", stage], check=True)


def test_new_stages_stand_in_the_order_of_the_graph_with_the_text_that_dvc_writes() -> None:
    assert locked_stages(LOCK) == []
    repro(*STAGES)
    wanted = LOCK.read_bytes()
    LOCK.unlink()
    repro("train@three", "train@one", "train@two", "sum")
    assert LOCK.read_bytes() != wanted
    sort_lock(LOCK, [], STAGES)
    assert LOCK.read_bytes() == wanted and locked_stages(LOCK) == STAGES


def test_stages_of_an_earlier_run_keep_their_order() -> None:
    repro("train@two", "train@one")
    listed = locked_stages(LOCK)
    repro("sum", "train@three")
    sort_lock(LOCK, listed, STAGES)
    assert locked_stages(LOCK) == ["train@two", "train@one", "train@three", "sum"]
    sort_lock(LOCK, listed, STAGES[1:])  # one that is no longer in the graph comes last, if it is not listed
    assert locked_stages(LOCK) == ["train@two", "train@one", "train@three", "sum"]
