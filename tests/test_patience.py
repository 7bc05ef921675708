"""Threads that wait for each other soon sleep, in stages and in the server that starts them warm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdaug.run.patience import POLICY, SPIN, SPIN_ROUNDS, add_patience

STAGES = Path(__file__).parents[1] / "stages"
SHOW = f"import _source, os; print(os.environ.get('{SPIN}'))"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, str(SPIN_ROUNDS)), ({SPIN: "7"}, "7"), ({POLICY: "active"}, None)],
)
def test_a_choice_of_the_user_stays(chosen: dict[str, str], expected: str | None) -> None:
    environment = {**chosen}
    add_patience(environment)
    assert environment.get(SPIN) == expected
    # A stage does the same.
    clean = {key: value for key, value in os.environ.items() if key not in (SPIN, POLICY)}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=STAGES, env=clean | chosen, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(expected)
