"""Several trainings at once: which ones, and what a failure leaves."""

import os
import stat
from pathlib import Path

import pytest

from sdaug.grid import Phase, run_chain, run_grid, stale_chains

PHASE = Phase(first=("split",), chain=("train", "evaluate"), beside=("fidelity",))
CHAIN = ["train@vit-original-0", "evaluate@vit-original-0"]
STAGES = ["split@original", "train@vit-original-0", "train@vit-augmented-0", "evaluate@vit-original-0", "report"]


def fake_dvc(folder: Path, script: str) -> dict[str, str]:
    """An environment whose `dvc` is a shell script."""
    path = folder / "dvc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("changed", CHAIN)
def test_a_chain_is_stale_if_its_training_or_its_evaluation_is(changed: str) -> None:
    assert stale_chains({changed: ["changed deps"]}, STAGES, PHASE) == [CHAIN]


def test_a_single_stage_runs_beside_the_chains() -> None:
    changes = {"fidelity": ["changed deps"], "train@vit-original-0": ["changed deps"]}
    assert stale_chains(changes, STAGES, PHASE) == [["fidelity"], CHAIN]


def test_a_change_elsewhere_makes_no_chain_stale() -> None:
    assert stale_chains({"split@original": [], "report": []}, STAGES, PHASE) == []


def test_a_failed_chain_says_why(tmp_path: Path) -> None:
    environment = fake_dvc(tmp_path, 'echo "the loss is nan"; exit 1')
    error = run_chain(CHAIN, environment)
    assert error is not None and f"{', '.join(CHAIN)}: failed" in error and "the loss is nan" in error


def test_training_comes_before_evaluation_in_one_process(tmp_path: Path) -> None:
    environment = fake_dvc(tmp_path, f'echo "$@" >> {tmp_path}/calls')
    assert run_chain(CHAIN, environment) is None
    [call] = (tmp_path / "calls").read_text().splitlines()
    assert call.split()[-2:] == CHAIN


def test_no_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="--jobs 0; need 1 or more"):
        run_grid(0)
