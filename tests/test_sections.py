"""Reading sections of params.yaml: conversions, and the message for each kind of error."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import parse_yaml
from ruamel.yaml import YAML

from sdaug.common.sections import convert, read_params, read_section, require


@dataclass(frozen=True, kw_only=True)
class Knobs:
    rate: float
    steps: int
    kind: Literal["sgd", "adam"]
    is_on: bool
    widths: list[int]
    folder: Path | None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "need 1 or more")


GOOD: dict[str, Any] = {
    "rate": 0.5,
    "steps": 3,
    "kind": "sgd",
    "is_on": True,
    "widths": [8, 16],
    "folder": None,
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"speed": 1}, r"models\.small\.speed: unknown key \(value 1\); allowed keys: .*rate.*steps"),
    (
        {"rate": "1e-4"},
        r"models\.small\.rate: '1e-4' is a string, need a number; write it without quotes, like 1\.0e-4",
    ),
    ({"steps": True}, r"models\.small\.steps: True is a boolean, need a whole number"),
    ({"steps": 3.0}, r"models\.small\.steps: 3\.0 is a number, need a whole number"),
    ({"rate": False}, r"models\.small\.rate: False is a boolean, need a number"),
    ({"is_on": 1}, r"models\.small\.is_on: 1 is a whole number, need true or false"),
    ({"kind": "lion"}, r"models\.small\.kind: 'lion' is not allowed; choose from sgd, adam"),
    ({"widths": [8, "x"]}, r"models\.small\.widths\[1\]: 'x' is a string, need a whole number"),
    ({"widths": 8}, r"models\.small\.widths: 8 is a whole number, need a list"),
    ({"folder": 3}, r"models\.small\.folder: 3 is a whole number, need a path"),
    ({"rate": None}, r"models\.small\.rate: no value, need a number"),
    ({"steps": 0}, r"models\.small\.steps: 0; need 1 or more"),
]


def write_knobs(folder: Path, changes: dict[str, Any]) -> Path:
    path = folder / "params.yaml"
    YAML(typ="safe").dump({"models": {"small": {**GOOD, **changes}}}, path)
    return path


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_value_is_named_with_its_path_and_rule(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_section(write_knobs(tmp_path, changes), "models", dict[str, Knobs])


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_message_is_one_line_that_starts_with_the_file(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_knobs(tmp_path, changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_section(path, "models", dict[str, Knobs])
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_missing_key_is_named() -> None:
    lacking = {key: value for key, value in GOOD.items() if key != "steps"}
    with pytest.raises(ValueError, match=r"^here\.steps: missing; allowed keys: "):
        convert(lacking, Knobs, "here")


def test_missing_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"params\.yaml: models\.large: missing"):
        read_section(write_knobs(tmp_path, {}), "models.large.rate", float)


def test_section_that_is_a_scalar_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^here: 3 is a whole number, need a section with rate, steps"):
        convert(3, Knobs, "here")


def test_whole_number_is_taken_for_a_float(tmp_path: Path) -> None:
    rate = read_section(write_knobs(tmp_path, {"rate": 1}), "models.small", Knobs).rate
    assert rate == 1.0 and isinstance(rate, float)


def test_text_becomes_a_path(tmp_path: Path) -> None:
    assert read_section(write_knobs(tmp_path, {"folder": "a/b"}), "models.small.folder", Path) == Path("a/b")


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: no such file"):
        read_params(tmp_path / "none.yaml")


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: [1,\nb: 2\n")
    with pytest.raises(ValueError, match=r"params\.yaml: not YAML: ") as caught:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_numbers_and_words_are_read_as_dvc_reads_and_writes_them(tmp_path: Path) -> None:
    """YAML 1.2; PyYAML takes `5e-06` for text and `yes` for true."""
    rates, classes = "rates: [5e-6, 5e-06, 1e-4, 1.0e-4, 2E3]", "classes: [yes, no, on, off, y]"
    text = f"{rates}\n{classes}\nflags: [true, false]\nnumbers: [010, 0]"
    (tmp_path / "params.yaml").write_text(text)
    values = read_params(tmp_path / "params.yaml")
    assert convert(values["rates"], list[float], "rates") == [5e-6, 5e-6, 1e-4, 1e-4, 2000]
    assert values["classes"] == ["yes", "no", "on", "off", "y"]
    assert values["flags"] == [True, False] and values["numbers"] == [10, 0]
    assert values == parse_yaml(text, "params.yaml")


def test_values_that_dvc_sets_are_read_as_they_were_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run -S` rewrites the whole file."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("rate: 1.0e-4 # of the optimizer\nclasses: [a, b]\n")
    apply_overrides("params.yaml", ["rate=5e-6", "classes=[yes,no]"])
    assert read_params(Path("params.yaml")) == {"rate": 5e-6, "classes": ["yes", "no"]}
