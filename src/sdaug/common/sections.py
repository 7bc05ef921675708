"""Reading params.yaml: its sections are pydantic dataclasses, whose fields hold the rules of each setting.

Sections stand in the `params.py` modules. Nothing is converted silently, but for whole numbers where a number is needed
and text where a path is. Whatever is wrong is a one-line `ValueError` that names the file, key, value and rule.
"""

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, Union

import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

T = TypeVar("T")
NAME = re.compile(r"[a-z0-9_]+")
MAX_DEPTH, MAX_VALUES = 20, 100_000  # of a params file; the presets have 5 levels and some hundreds of values
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
FilePath = Annotated[Path, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)]
Text = Annotated[str, Field(pattern=r"\S")]  # not empty

RULES = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "pattern")
# What pydantic's kinds of errors need.
UNKNOWN = ("unexpected_keyword_argument", "invalid_key")
NEEDED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "string",
    "string_unicode": "whole characters",
    "bool_type": "true or false",
    "is_instance_of": "a path",
    "list_type": "a list",
    "dict_type": "a mapping",
}


class Checked:
    """Base of dataclasses that are made of mappings, each value of which is checked."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        schema = handler(source)
        # Strict values, in a mapping: pydantic would be strict about that, too, and take instances only.
        typing.cast(dict[str, Any], handler.resolve_ref_schema(schema))["strict"] = False
        return schema


@typing.dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def section(kind: type[T]) -> type[T]:
    """Make a subclass of `Checked` a frozen, keyword-only dataclass whose values are checked wherever it is made."""
    made: Any = pydantic.dataclasses.dataclass(kind, frozen=True, kw_only=True)
    check: Callable[..., None] = made.__init__

    @functools.wraps(check)
    def init(self: Any, **values: Any) -> None:
        try:
            check(self, **values)
        except ValidationError as error:
            raise ValueError(_describe(error, made, "")) from error

    made.__init__ = init
    return typing.cast(type[T], made)


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
    """The value at a dotted key, converted to `kind`: a section, a list or mapping of them, or a scalar.

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
    found: T = convert(value, kind, f"{path}: {key}")
    return found


def convert(value: Any, kind: Any, where: str) -> Any:
    """`value` converted to `kind`.

    Raises:
        ValueError: it does not fit; `where` starts the message.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError(_describe(error, kind, where)) from error
    except UnicodeEncodeError as error:  # JSON can hold half a character
        raise ValueError(f"{where} {error.object!r} holds half a character, need Unicode text") from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    is_section = dataclasses.is_dataclass(kind)
    if is_section and not issubclass(kind, Checked):
        raise TypeError(f"{kind.__name__}: not a subclass of Checked, so its values would be converted silently")
    return TypeAdapter(kind, config=None if is_section else STRICT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an error is: the dotted key, its kind, its field and section; `union` counts the keys before a choice."""

    key: str
    kind: Any
    field: FieldInfo | None
    owner: Any
    union: int | None


def _describe(refused: ValidationError, kind: Any, where: str) -> str:
    """The first error in one line. Misspelt keys come before missing ones, or they would be reported as such."""
    errors: Sequence[Any] = refused.errors(include_url=False)
    error = min(errors, key=lambda one: 0 if one["type"] in UNKNOWN else 1 if one["type"] == "missing" else 2)
    place = _locate(error["loc"], kind)
    if place.union is not None:  # the error of the last kind that the value may have
        alike = [one for one in errors if one["loc"][: place.union] == error["loc"][: place.union]]
        error = next(one for one in alike if one["loc"][place.union] == alike[-1]["loc"][place.union])
        place = _locate(error["loc"], kind)
    where, value, name = _join(where, place.key), error["input"], error["type"]
    if name in UNKNOWN:
        return f"{where}: unknown key (value {value!r}); allowed keys: {', '.join(sorted(_keys(place.owner)))}"
    if name == "missing":
        return f"{where}: missing; allowed keys: {', '.join(sorted(_keys(place.owner)))}"
    if name == "value_error":  # of a rule between settings, which begins with a key
        return _join(where, f".{error['ctx']['error']}")
    if name == "literal_error":
        return f"{where}: {value!r} is not allowed; choose from {', '.join(map(str, typing.get_args(place.kind)))}"
    if name == "dataclass_type":
        return f"{where}: {_said(value)}, need a section with {', '.join(_keys(place.kind))}"
    if name in NEEDED:
        hint = "; write it without quotes, like 1.0e-4" if name == "float_type" and isinstance(value, str) else ""
        return f"{where}: {_said(value)}, need {NEEDED[name]}{hint}"
    meaning = f": {place.field.description}" if place.field and place.field.description else ""
    return f"{where}: {value!r}; need {_range(place.field) or error['msg']}{meaning}"


def _locate(loc: Sequence[Any], kind: Any) -> _Place:
    """The place of an error by pydantic's path to it, in which a choice of kinds has a part of its own."""
    key, field, owner, union = "", None, None, None
    parts = list(loc)
    while parts:
        members = [one for one in typing.get_args(kind) if one is not type(None)]
        if typing.get_origin(kind) in (Union, types.UnionType):
            if len(members) > 1:
                union, tag = len(loc) - len(parts), str(parts.pop(0))
                members = [one for one in members if tag.startswith((typing.get_origin(one) or one).__name__.lower())]
            kind = members[0]
        elif dataclasses.is_dataclass(kind):
            part, owner = parts.pop(0), kind
            key, field = f"{key}.{part}", getattr(kind, "__pydantic_fields__", {}).get(part)
            kind = typing.get_type_hints(kind).get(part)
        elif typing.get_origin(kind) is list:
            key, kind, field = f"{key}[{parts.pop(0)}]", members[0], _item_field(field)
        elif parts[1:] == ["[key]"]:
            key, parts = f"{key}: key {parts[0]!r}", []
        else:
            key, kind = f"{key}.{parts.pop(0)}", members[-1] if members else Any
    is_choice = typing.get_origin(kind) in (Union, types.UnionType)
    kind = next((one for one in typing.get_args(kind) if one is not type(None)), kind) if is_choice else kind
    return _Place(key=key, kind=kind, field=field, owner=owner, union=union)


def _item_field(field: FieldInfo | None) -> FieldInfo | None:
    """The field of a list's items, if they have rules of their own."""
    items = typing.get_args(field.annotation)[:1] if field else ()
    return next(
        (rule for item in items for rule in getattr(item, "__metadata__", ()) if isinstance(rule, FieldInfo)), None
    )


def _range(field: FieldInfo | None) -> str:
    """The rule of a field in words, such as `more than 0, at most 1`; empty without one."""
    limits = {
        key: value
        for rule in (field.metadata if field else ())
        for key in RULES
        if (value := getattr(rule, key, None)) is not None
    }
    low, above, most, below = (limits.get(key) for key in ("ge", "gt", "le", "lt"))
    if limits.get("pattern"):
        return "some text"
    if limits.get("min_length") is not None:
        return f"at least {limits['min_length']}"
    start = f"a multiple of {limits['multiple_of']} from " if limits.get("multiple_of") else ""
    if low is not None and most is not None:
        return f"{start}{low:g} to {most:.15g}"
    first = f"{start}{low:g} or more" if low is not None else f"more than {above:g}" if above is not None else ""
    last = f"less than {below:g}" if below is not None else f"at most {most:g}" if most is not None else ""
    return f"{' and ' if below is not None else ', '}".join(part for part in (first, last) if part)


def _keys(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _join(where: str, key: str) -> str:
    """A dotted `key`, with a dot before it unless empty, after `where`: a dotted key, or a file name with a colon."""
    if not where:
        return key.removeprefix(".")
    return f"{where} {key.removeprefix('.')}" if where.endswith(":") and key else f"{where}{key}"


def _said(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    names = {str: "string", int: "whole number", float: "number", bool: "boolean", dict: "mapping", list: "list"}
    return "no value" if value is None else f"{value!r} is a {names.get(type(value), type(value).__name__)}"


def require(is_met: bool, key: str, value: object, rule: str) -> None:
    """Check a rule between settings in a section's `__post_init__`; the caller adds the file and section.

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
