"""Reproducible, atomic file writing: equal content gives equal bytes, and a failure leaves no partial file."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def fresh_dir(target: Path) -> Iterator[Path]:
    """An empty folder to write to; it replaces `target` only if the block succeeds.

    Raises:
        ValueError: the folder cannot be created.
    """
    # Beside the target, because a rename is atomic only within one file system.
    scratch = target.with_name(f".{target.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
    except OSError as error:
        raise ValueError(f"{target}: cannot write here ({error.strerror}); make {target.parent} writable") from error
    try:
        yield scratch
        # `replace` cannot overwrite a folder that holds files.
        if target.exists():
            shutil.rmtree(target)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, with LF line endings on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    scratch.write_text(text, encoding="utf-8", newline="\n")
    scratch.replace(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON with its keys in their given order and floats rounded to six decimal places."""
    # NaN is not JSON, and strict parsers refuse it.
    write_text(path, json.dumps(rounded(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: the file is not valid JSON or holds something else.
    """
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a {type(value).__name__}, need an object")
    return value


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows`, which all have the keys of the first one, with floats rounded to six decimal places."""
    if not rows:
        raise ValueError(f"{path}: no rows to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.partial")
    # An empty `newline`, because the csv module writes line ends itself.
    with scratch.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rounded(row) for row in rows)
    scratch.replace(path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, all values as strings."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def rounded(value: Any) -> Any:
    """`value` with every nested float rounded to six decimal places."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
