"""`sdaug compare`: the headline scores of this study beside those of another revision, if both have one test set."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdaug.common.files import read_json

SUMMARY = Path("metrics/summary.json")
HEADLINES = ("test_balanced_accuracy", "test_accuracy", "difference")


def compare(revision: str, summary: Path = SUMMARY) -> str:
    """Scores there and here in a table, below a warning if the test sets differ.

    Raises:
        FileNotFoundError: this study has no results yet.
        ValueError: the revision has none, or is none.
    """
    if not summary.is_file():
        raise FileNotFoundError(f"{summary}: missing; run `dvc repro` first")
    here, there = read_json(summary), _read_summary(revision, summary)
    before, after = dict(_flatten(there)), dict(_flatten(here))
    names = [name for name in after if name in before and name.split(".")[0] in HEADLINES]
    width = max(map(len, names), default=0)
    rows = [f"{'':{width}}  {revision:>12}  {'here':>12}  {'change':>8}"] + [
        f"{name:{width}}  {before[name]:12.4f}  {after[name]:12.4f}  {after[name] - before[name]:+8.4f}"
        for name in names
    ]
    return "\n".join([compare_test_sets(here, there, revision), *rows])


def compare_test_sets(here: Mapping[str, Any], there: Mapping[str, Any], revision: str) -> str:
    """Whether scores can be compared at all, in one line."""
    own, other = (f"{found.get('test_set')} ({found.get('num_test')} photos)" for found in (here, there))
    if "test_set" not in there:
        return f"WARNING: {revision} does not tell its test set: nobody knows whether its scores can be compared."
    if here.get("test_set") != there["test_set"]:
        return (
            f"WARNING: THE TEST SETS DIFFER: {other} in {revision}, {own} here. A change of scores says nothing of a "
            "change of the study; prepare.raw, prepare.seed, groups or photos have moved photos."
        )
    return f"Both have the test set {own}."


def _read_summary(revision: str, summary: Path) -> dict[str, Any]:
    command = ["git", "show", "--end-of-options", f"{revision}:./{summary.as_posix()}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise ValueError(f"{revision}: no {summary} there ({' '.join(shown.stderr.split())}); give a branch or commit")
    try:
        found: dict[str, Any] = json.loads(shown.stdout)
    except json.JSONDecodeError as error:
        raise ValueError(f"{revision}: {summary}: not JSON ({error}); give another revision") from error
    return found


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """All numbers with their dotted names, without the ends of intervals."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        elif isinstance(value, int | float) and key not in ("low", "high", "detectable"):
            yield name, float(value)
