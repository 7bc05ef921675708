"""results.csv: the latest figure of each benchmark, case, measure and machine, and when and from what code it is.

Benchmarks write to it if they are asked to, with `--write`. `python tests/figures.py --write` then shows it in
docs/benchmarks.md.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sdaug.common.files import read_csv, write_csv

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.csv")
# By the end of a measure's name.
UNITS = {
    "_ms": "ms",
    "_s": "s",
    "_mib": "MiB",
    "_per_s": "1/s",
    "_mean": "%",
    "_std": "%",
    "coverage": "fraction",
    "called": "fraction",
    "power": "fraction",
    "half_width": "fraction",
    "detectable": "fraction",
}
RATIO = "ratio"  # of all other measures
ANY = "any"  # machine of figures that no machine changes, such as shares of simulated studies
COLUMNS = ("benchmark", "case", "measure", "value", "unit", "commit", "machine", "date")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row of results.csv."""

    benchmark: str
    case: str
    measure: str
    value: float
    unit: str
    commit: str
    machine: str
    date: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a newer row with the same key replaces."""
        return self.benchmark, self.case, self.measure, self.machine


def read_results(path: Path = RESULTS) -> list[Result]:
    """All rows, in the order of the file."""
    rows = read_csv(path, columns=COLUMNS) if path.exists() else []
    return [Result(**{**row, "value": float(row["value"])}) for row in rows]  # type: ignore[arg-type]


def add_write_option(parser: argparse.ArgumentParser) -> None:
    """Add `--write`, without which a benchmark only prints."""
    parser.add_argument("--write", action="store_true", help="write the figures to benchmarks/results.csv as well")


def write_results(
    benchmark: str, figures: Mapping[str, Mapping[str, float]], path: Path = RESULTS, *, machine: str | None = None
) -> None:
    """Replace the rows of these figures by case and measure, measured here and now; new ones follow the old."""
    commit, date = _commit(), datetime.datetime.now(datetime.UTC).date().isoformat()
    rows = {row.key: row for row in read_results(path)}
    for case, measures in figures.items():
        for measure, value in measures.items():
            row = Result(
                benchmark=benchmark,
                case=case,
                measure=measure,
                value=round(float(value), 4),
                unit=unit_of(measure),
                commit=commit,
                machine=machine or name_machine(),
                date=date,
            )
            rows[row.key] = row
    # By benchmark, whose rows keep their order.
    write_csv(path, [asdict(row) for row in sorted(rows.values(), key=lambda row: row.benchmark)])


def unit_of(measure: str) -> str:
    """The unit that the name of a measure ends with; the longest end counts."""
    ends = [end for end in UNITS if measure.endswith(end)]
    return UNITS[max(ends, key=len)] if ends else RATIO


def name_machine() -> str:
    """The processor's name and the number of its cores that this process may use, and the GPU if there is one."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = f"{names[0] if names else platform.machine()}, {cores} cores"
    torch = sys.modules.get("torch")  # a benchmark that has not imported it uses no GPU
    return f"{name}, {torch.cuda.get_device_name()}" if torch and torch.cuda.is_available() else name


def _commit() -> str:
    """The short hash of the checkout's commit, with `-dirty` where files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
