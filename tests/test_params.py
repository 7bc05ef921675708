"""Each setting stands in every params file, is explained there or in docs/, and has no default in code."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic.fields import FieldInfo

from sdaug.check.study import ArmParams, StudyParams
from sdaug.common.params import ConceptParams, merge_arm
from sdaug.common.sections import read_params
from sdaug.external.params import ExternalParams
from sdaug.photos.folder_layout import LabelTable
from sdaug.pretrain.params import PretrainParams
from sdaug.train.params import Recipe

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
DOCS = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
ENTRIES: dict[str, Any] = {"datasets": ArmParams, "concepts": ConceptParams, "external": ExternalParams}


def section_of(kind: Any) -> Any:
    """The dataclass that a field is or may be; None for any other field."""
    return next((one for one in (kind, *get_args(kind)) if is_dataclass(one)), None)


def knobs(kind: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted key and the field of each setting of a section, but for entries that a user names."""
    for name, hint in get_type_hints(kind).items():
        if name.startswith("__") or name in ENTRIES:
            continue
        inner = section_of(hint)
        if inner is None or inner is LabelTable:
            yield f"{before}{name}", kind.__pydantic_fields__[name]
        else:
            yield from knobs(inner, f"{before}{name}.")


KNOBS = dict(knobs(StudyParams))


def look_up(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_setting_stands_in_the_file(path: Path) -> None:
    values, missing = read_params(path), []
    for key in KNOBS:
        try:
            look_up(values, key)
        except KeyError:
            missing.append(key)
    assert [key for key in missing if not (key.startswith("phantom.") and "phantom" not in values)] == []


@pytest.mark.parametrize("kind", [StudyParams, ArmParams, PretrainParams, Recipe, LabelTable, ConceptParams])
def test_no_setting_has_a_default_in_code(kind: Any) -> None:
    reached, found = [kind], []
    for section in reached:
        reached += [
            inner for hint in get_type_hints(section).values() if (inner := section_of(hint)) not in (None, *reached)
        ]
        found += [
            f"{section.__name__}.{field.name}"
            for field in fields(section)
            if field.default_factory is not MISSING
            or (
                field.default is not MISSING
                and not (isinstance(field.default, FieldInfo) and field.default.is_required())
            )
        ]
    assert found == (["StudyParams.phantom"] if kind is StudyParams else [])  # the section of simulated photos


def commented(path: Path) -> set[str]:
    """The dotted keys of a params file whose line has a comment."""
    found, above = set(), []
    for line in path.read_text().splitlines():
        match = re.match(r"( *)(\w+):", line)
        if match:
            above = [*above[: len(match[1]) // 2], match[2]]
            if " # " in line:
                found.add(".".join(above))
    return found


COMMENTED = commented(FILES[0])


@pytest.mark.parametrize("key", KNOBS)
def test_every_setting_is_explained(key: str) -> None:
    assert KNOBS[key].description
    assert key in COMMENTED or re.search(rf"\b{key.split('.')[-1]}\b", DOCS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_entries_name_only_what_differs(path: Path) -> None:
    values = read_params(path)
    for name, entry in values["datasets"].items():
        same = [
            f"{part}.{key}" for part in entry for key in entry[part] if entry[part][key] == values["arm"][part][key]
        ]
        assert same == [], name
        assert merge_arm(values["arm"], entry).keys() == {"images", "training"}
