"""Reproducible, atomic file writing: equal content gives equal bytes, and a failure leaves no partial file."""

import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

RESTORE = "`git restore` or `dvc checkout` brings it back, `dvc repro` makes it anew"


@contextmanager
def fresh_dir(target: Path) -> Iterator[Path]:
    """An empty folder to write to; it replaces `target` only if the block succeeds.

    Raises:
        ValueError: the folder cannot be created, or another run is writing it.
    """
    with scratch_dir(target) as scratch:
        clear(scratch)  # of what a run left that was killed
        try:
            yield scratch
            move_to(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def scratch_dir(target: Path) -> Iterator[Path]:
    """The folder `.<name>.partial` beside `target`, with what it holds, for this process alone.

    Raises:
        ValueError: the folder cannot be created, or another run is writing it.
    """
    # Beside the target, because a rename is atomic only within one file system.
    scratch = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(scratch)
    except BlockingIOError as error:
        raise ValueError(f"{target}: another run is writing it; wait for that run, or stop it") from error
    except OSError as error:
        raise ValueError(f"{target}: cannot write here ({error.strerror}); make {target.parent} writable") from error
    try:
        _restore_old(target)
        yield scratch
    finally:
        os.close(descriptor)  # gives the lock back, as the end of the process does


def _lock(scratch: Path) -> int:
    """Create and lock a folder; returns the descriptor that holds the lock."""
    while True:
        scratch.mkdir(exist_ok=True)
        try:
            descriptor = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # a run that has just ended has moved it away
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), scratch.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def clear(folder: Path) -> None:
    """Delete everything in a folder."""
    for path in folder.iterdir():
        remove(path)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def move_to(scratch: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`; at any moment the old or the new one is there, whole."""
    old = _old(target)
    if target.exists():  # `replace` cannot overwrite a folder that holds files
        target.replace(old)
    scratch.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _restore_old(target: Path) -> None:
    """Undo a move that was killed between its two steps, or finish one."""
    old = _old(target)
    if old.exists() and not target.exists():
        old.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old.partial")


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
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}); {RESTORE}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a {type(value).__name__}, need an object; {RESTORE}")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows`, which all have the keys of the first one, with floats rounded to six decimal places."""
    if not rows:
        raise ValueError(f"{path}: no rows to write")
    write_text(path, csv_text(rows))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """What `write_csv` writes."""
    stream = io.StringIO(newline="")  # the csv module writes line ends itself
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rounded(row) for row in rows)
    return stream.getvalue()


def read_csv(path: Path, *, columns: Sequence[str] = (), remedy: str = RESTORE) -> list[dict[str, str]]:
    """The rows of a CSV file, all values as strings; there may be more columns than those asked for.

    `remedy` ends the message about a file that no stage has written.

    Raises:
        ValueError: it is no table, lacks a column, or a row has more or fewer values than there are columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:  # Excel writes a mark first
            reader = csv.DictReader(stream, strict=True)
            rows, header = list(reader), list(reader.fieldnames or ())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table ({error}); {remedy}") from error
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]}; need {', '.join(columns)}; {remedy}")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            count = len(row[None]) + len(header) if None in row else sum(value is not None for value in row.values())
            raise ValueError(f"{path}: line {line}: {count} values, need {len(header)}; {remedy}")
    return rows


def rounded(value: Any) -> Any:
    """`value` with every nested float rounded to six decimal places."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
