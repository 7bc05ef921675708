"""What `prepare` made of a folder of photos, in words: kept, dropped and unreadable ones by part and class."""

from collections.abc import Mapping, Sequence
from typing import Any

NUM_NAMED = 5  # paths that are named; metrics/prepare.json has all

COLUMNS = ("", "training", "test", "copies dropped", "unreadable")


def describe(report: Mapping[str, Any], classes: Sequence[str]) -> str:
    """A table of the photos of each class, and a line for whatever else was found."""
    rows = [
        (
            label,
            str(report[f"train.{label}"]),
            str(report[f"test.{label}"]),
            _of_class(report["duplicates"], label),
            _of_class(report["broken_of_class"], label),
        )
        for label in classes
    ]
    widths = [max(len(row[n]) for row in (COLUMNS, *rows)) for n in range(len(COLUMNS))]
    table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in (COLUMNS, *rows)]
    return "\n".join([*table, *_remarks(report)])


def _of_class(counts: Mapping[str, int], label: str) -> str:
    """Counts of a class by part, such as `12 (train 8, test 4)`."""
    found = {key.rpartition(".")[0]: count for key, count in counts.items() if key.rpartition(".")[2] == label}
    total = sum(found.values())
    if not total or list(found) == [""]:
        return str(total)
    return f"{total} ({', '.join(f'{part} {count}' for part, count in found.items())})"


def _remarks(report: Mapping[str, Any]) -> list[str]:
    said = [f"groups: {report['num_groups']}, the largest of {report['largest_group']} photos"]
    if report["num_near_copies"]:
        said.append(f"near copies: {report['num_near_copies']} pairs of photos that look alike")
    if report["left_out"]:
        said.append(f"left out: {', '.join(report['left_out'])}")
    if report["num_ignored"]:
        said.append(f"not photos of these classes: {report['num_ignored']} files")
    if report["num_broken_profiles"]:
        said.append(f"colour profiles that could not be used: {report['num_broken_profiles']} photos, read as sRGB")
    for key, title in (("unread", "in class folders, but no photos"), ("unused", "not read"), ("broken", "unreadable")):
        named = report[key][:NUM_NAMED]
        more = f"; {len(report[key]) - NUM_NAMED} more in metrics/prepare.json" * (len(report[key]) > NUM_NAMED)
        if named:
            said.append(f"{title}: {'; '.join(named)}{more}")
    return said
