"""Reading params.yaml and converting its sections to validated dataclasses.

Sections are frozen dataclasses in the `params.py` modules. Unknown or missing keys, wrong types and violated
`__post_init__` rules are all reported as a one-line `ValueError` that names the file, key, value and rule.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

T = TypeVar("T")
NAME = re.compile(r"[a-z0-9_]+")
MAX_DEPTH, MAX_VALUES = 20, 100_000  # of a params file; the presets have 5 levels and some hundreds of values


def read_params(path: Path) -> dict[str, Any]:
    """A whole params file as nested dictionaries.

    It is read as DVC reads it, by YAML 1.2: `5e-06`, which `dvc exp run -S` writes, is a number, and `yes` is text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, or not a mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run this in the study's folder, or pass --params")
    try:
        value = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        _check_tree(value, path)
    except DuplicateKeyError as error:
        raise ValueError(f"{path}: line {error.problem_mark.line + 1}: {error.problem}; remove one") from error
    except (YAMLError, UnicodeDecodeError) as error:
        # Messages of YAML readers span several lines, and a user error is one line.
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not YAML: a section holds itself, or is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: need sections such as `prepare:`, got {value!r}")
    return value


def _check_tree(value: Any, path: Path) -> None:
    """Refuse sections that hold themselves, or that take ages to walk through, by way of YAML's aliases."""
    stack, num_values = [(value, 0)], 0
    while stack:
        inner, depth = stack.pop()
        num_values += 1
        if depth > MAX_DEPTH or num_values > MAX_VALUES:
            rule = f"more than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_VALUES} values"
            raise ValueError(f"{path}: {rule}; does an alias (*name) stand inside of what it stands for?")
        if isinstance(inner, dict | list):
            stack += [(item, depth + 1) for item in (inner.values() if isinstance(inner, dict) else inner)]


def read_section(path: Path, key: str, kind: type[T]) -> T:
    """The value at a dotted key, converted to `kind`: a dataclass, a list or mapping of them, or a scalar.

    Raises:
        ValueError: the key is missing, or its value does not fit `kind`.
    """
    value: Any = read_params(path)
    # Walk down the key, so that the message names the first part that is missing.
    walked = []
    for part in key.split("."):
        walked.append(part)
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"{path}: {'.'.join(walked)}: missing; see the presets for an example")
        value = value[part]
    section: T = convert(value, kind, f"{path}: {key}")
    return section


def convert(value: Any, kind: Any, where: str) -> Any:
    """`value` converted to `kind`.

    Raises:
        ValueError: it does not fit; `where` starts the message.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _convert_section(value, kind, where)
    if origin in (Union, types.UnionType):
        return _convert_union(value, args, where)
    if origin is Literal:
        # In Python True == 1, so a boolean is allowed only where the literal lists one.
        if value not in args or isinstance(value, bool) != any(isinstance(a, bool) and a == value for a in args):
            raise ValueError(f"{where}: {value!r} is not allowed; choose from {', '.join(map(str, args))}")
        return value
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {_said(value)}, need a mapping")
        return {
            convert(k, args[0], f"{where}: key {k!r}"): convert(v, args[1], f"{where}.{k}") for k, v in value.items()
        }
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise ValueError(f"{where}: {_said(value)}, need a list")
        items = [convert(item, args[0], f"{where}[{i}]") for i, item in enumerate(value)]
        return items if origin is list else tuple(items)
    return _convert_scalar(value, kind, where)


def _convert_section(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(
            f"{where}: {_said(value)}, need a section with {', '.join(f.name for f in dataclasses.fields(kind))}"
        )
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    # Unknown keys first: a misspelt key would otherwise be reported as a missing one.
    for key in value:
        if key not in names:
            raise ValueError(
                f"{_join(where, key)}: unknown key (value {value[key]!r}); allowed keys: {', '.join(sorted(names))}"
            )
    for name in sorted(required - set(value)):
        raise ValueError(f"{_join(where, name)}: missing; allowed keys: {', '.join(sorted(names))}")
    # Convert the values, then let `__post_init__` check the rules; its messages start with the key.
    fields = {name: convert(item, hints[name], _join(where, name)) for name, item in value.items()}
    try:
        return kind(**fields)
    except ValueError as error:
        raise ValueError(_join(where, str(error))) from error


def _convert_union(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    # Try the kinds in order; the error shown is that of the last one.
    for kind in others[:-1]:
        try:
            return convert(value, kind, where)
        except ValueError:
            continue
    return convert(value, others[-1], where)


def _convert_scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    # bool is a subclass of int, and `true` must not pass for 1.
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: {value!r}, need a finite number")
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    need = {int: "a whole number", float: "a number", str: "string", bool: "true or false", Path: "a path"}
    hint = "; write it without quotes, like 1.0e-4" if kind is float and isinstance(value, str) else ""
    raise ValueError(f"{where}: {_said(value)}, need {need.get(kind, kind.__name__)}{hint}")


def _join(where: str, key: str) -> str:
    """`key` appended to `where`, which is a dotted key, or a file name with a colon."""
    return f"{where} {key}" if where.endswith(":") else f"{where}.{key}"


def _said(value: Any) -> str:
    names = {str: "string", int: "whole number", float: "number", bool: "boolean", dict: "mapping", list: "list"}
    return "no value" if value is None else f"{value!r} is a {names.get(type(value), type(value).__name__)}"


def require(is_met: bool, key: str, value: object, rule: str) -> None:
    """Check a rule in a section's `__post_init__`; the caller adds the file and section to the message.

    Raises:
        ValueError: the rule is not met.
    """
    if not is_met:
        raise ValueError(f"{key}: {value!r}; {rule}")


def check_name(name: str, *, where: str) -> str:
    """The name of a class, model or data set, checked: with dashes or dots, stage names joined from it could collide.

    Raises:
        ValueError: it has other characters than a-z, 0-9 and _.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{where}.{name}: {name!r}; need a name of a-z, 0-9 and _ only; rename it (and its folder)")
    return name
