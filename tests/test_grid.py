"""Several trainings at once: which ones, and what a failure leaves."""

import os
import stat
from pathlib import Path

import pytest

from sdaug.grid import run_chain, run_grid, stale_items

CHAIN = ("train", "evaluate")
STAGES = ["split@original", "train@vit-original-0", "train@vit-augmented-0", "evaluate@vit-original-0", "report"]


def fake_dvc(folder: Path, script: str) -> dict[str, str]:
    """An environment whose `dvc` is a shell script."""
    path = folder / "dvc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("changed", ["train@vit-original-0", "evaluate@vit-original-0"])
def test_an_item_is_stale_if_its_training_or_its_evaluation_is(changed: str) -> None:
    assert stale_items({changed: ["changed deps"]}, STAGES, CHAIN) == ["vit-original-0"]


def test_a_change_elsewhere_makes_no_item_stale() -> None:
    assert stale_items({"split@original": [], "report": []}, STAGES, CHAIN) == []


def test_a_failed_chain_says_why(tmp_path: Path) -> None:
    environment = fake_dvc(tmp_path, 'echo "the loss is nan"; exit 1')
    error = run_chain("vit-original-0", CHAIN, environment)
    assert error is not None and "vit-original-0: train, evaluate: failed" in error and "the loss is nan" in error


def test_training_comes_before_evaluation_in_one_process(tmp_path: Path) -> None:
    environment = fake_dvc(tmp_path, f'echo "$@" >> {tmp_path}/calls')
    assert run_chain("vit-original-0", CHAIN, environment) is None
    [call] = (tmp_path / "calls").read_text().splitlines()
    assert call.split()[-2:] == ["train@vit-original-0", "evaluate@vit-original-0"]


def test_no_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="--jobs 0; need 1 or more"):
        run_grid(0)
