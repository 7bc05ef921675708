"""A table of labels, as data sets of flat folders come with: which row is which photo, its class and its group."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath, PurePosixPath
from typing import NamedTuple

from sdaug.photos.folder_layout import LabelTable

NUM_NAMED = 3  # in messages that could list hundreds
DELIMITERS = ",;\t"


class Labelled(NamedTuple):
    """What a table says of a photo."""

    name: str
    group: str | None


class Matched(NamedTuple):
    """What a table says of each of some files, None where it has no row, and the rows without a file."""

    rows: list[Labelled | None]
    without_file: list[str]


def match_rows(labels: LabelTable, files: Sequence[PurePath]) -> Matched:
    """The class and group of each file; rows name it by its path, by its name, or by its name without the suffix.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the table has no such column, or two classes for one file.
    """
    said, disputed = _read_rows(labels)
    paths = [PurePosixPath(*file.parts) for file in files]
    num_of = Counter(key for path in paths for key in {path.name, path.stem})
    used, rows = set[str](), list[Labelled | None]()
    for path in paths:
        keys = [path.as_posix(), path.with_suffix("").as_posix()]
        keys += [key for key in (path.name, path.stem) if num_of[key] == 1]
        there = [key for key in keys if key in said]
        used.update(there)
        rows.append(said[there[0]] if there else None)
        # One file can be named in several ways, such as with and without its suffix.
        names = dict.fromkeys(said[key].name for key in there)
        if len(names) > 1:
            disputed[there[0]] = list(names)
    if disputed:
        named = ", ".join(f"{key} ({' and '.join(names)})" for key, names in sorted(disputed.items()))
        raise ValueError(f"{labels.table}: two classes for {named}; delete the wrong rows")
    return Matched(rows, [key for key in said if key not in used])


def _read_rows(labels: LabelTable) -> tuple[dict[str, Labelled], dict[str, list[str]]]:
    """The rows that name a class, by file; and the classes of each file that has several."""
    said: dict[str, Labelled] = {}
    disputed: dict[str, list[str]] = {}
    for row in _read_table(labels):
        name = _class_of(labels, row)
        key = PurePosixPath(row[labels.file_column].strip().replace("\\", "/")).as_posix()
        group = (row[labels.group_column].strip() or None) if labels.group_column else None
        if not name:
            continue
        if said.setdefault(key, Labelled(name, group)).name != name:
            disputed[key] = [said[key].name, name]
    return said, disputed


def _class_of(labels: LabelTable, row: Mapping[str, str]) -> str:
    if labels.label_column:
        return row[labels.label_column].strip()
    values = {name: float(row[name] or 0) for name in labels.label_columns}
    best = max(values, key=lambda name: values[name])
    return best if values[best] > 0 else ""


def _read_table(labels: LabelTable) -> list[dict[str, str]]:
    path = labels.table
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table; give a CSV file with a row per photo (--labels)")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.DictReader(stream, delimiter=delimiter, strict=True, restval="")
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table ({error}); save it as CSV with UTF-8") from error
    wanted = [labels.file_column, labels.label_column, labels.group_column, *labels.label_columns]
    missing = [name for name in wanted if name and name not in columns]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; the columns are {', '.join(columns)}")
    if not rows:
        raise ValueError(f"{path}: no rows; need one per photo")
    return rows
