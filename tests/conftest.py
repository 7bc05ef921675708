"""Fixtures of several modules."""

from pathlib import Path

import pytest
from studies import report, write_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small study with a report, shared by all tests that only read it, and what the stage printed."""
    root = tmp_path_factory.mktemp("study")
    write_study(root)
    return root, report(root)


@pytest.fixture
def study_dir(finished: tuple[Path, str]) -> Path:
    """The folder of the study with a report."""
    return finished[0]


@pytest.fixture
def own_study_dir(tmp_path: Path) -> Path:
    """A small study without a report, which a test may modify."""
    write_study(tmp_path)
    return tmp_path
