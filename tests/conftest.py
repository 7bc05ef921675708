"""Fixtures of several modules."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from line import restore, run_study, warm
from studies import report, write_study

# As `python stages/NAME.py` has it; last, because stages have names such as `report`.
sys.path.append(str(Path(__file__).parents[1] / "stages"))


# Files that take minutes: they come first, so that no process is left alone with one at the end.
LONGEST = ("test_line", "test_external_line", "test_servers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


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


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run once, from a folder of photos to its verdict, and committed."""
    folder = tmp_path_factory.mktemp("line") / "study"
    run_study(folder)
    return folder


@pytest.fixture(scope="session")
def warm_stages(study: Path) -> Iterator[dict[str, str]]:
    """The environment in which the study's stages start warm."""
    with warm(study) as starts:
        yield starts


@pytest.fixture
def clean(study: Path) -> Iterator[Path]:
    """The study, restored to its committed state before and after the test."""
    restore(study)
    yield study
    restore(study)
