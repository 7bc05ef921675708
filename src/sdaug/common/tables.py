"""CSV tables as dataclasses: each cell is checked, since any table may have been cut off or edited by hand."""

import types
import typing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, Union

from sdaug.common.files import read_csv
from sdaug.common.sections import convert

T = TypeVar("T")


def read_table(path: Path, kind: type[T]) -> list[T]:
    """The rows as instances of a dataclass of strings, numbers and literals; an empty cell is None where that may be.

    Fields with a default need no column.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or a value does not fit; names file, line, column and value.
    """
    required = [field.name for field in fields(kind) if field.default is MISSING]  # type: ignore[arg-type]
    rows = read_csv(path, columns=required)
    # The header is line 1.
    return [parse_row(row, kind, where=f"{path}: line {line}:") for line, row in enumerate(rows, start=2)]


def parse_row(row: dict[str, str], kind: type[T], *, where: str, **values: Any) -> T:
    """One row as a dataclass, with `values` for the fields that are not in the row.

    Raises:
        ValueError: a value is missing or does not fit; `where` starts the message.
    """
    instance: T = convert({**typed_cells(row, kind), **values}, kind, where)
    return instance


def typed_cells(row: dict[str, str], kind: type) -> dict[str, Any]:
    """The cells of a row for the fields of `kind`, as numbers where the field is one; what is none stays text."""
    hints = typing.get_type_hints(kind)
    return {field.name: _cast(row[field.name], hints[field.name]) for field in fields(kind) if field.name in row}


def _cast(text: str, kind: Any) -> Any:
    if typing.get_origin(kind) in (Union, types.UnionType):
        kinds = typing.get_args(kind)
        if not text and type(None) in kinds:
            return None
        kind = next(k for k in kinds if k is not type(None))
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        return text
