"""Reading sections of params.yaml: conversions, and the message for each kind of error."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import parse_yaml
from pydantic import Field
from ruamel.yaml import YAML

from sdaug.common.sections import Checked, FilePath, Text, convert, read_params, read_section, require, section


@section
class Knobs(Checked):
    rate: float = Field(gt=0, le=1, description="share of a step")
    steps: int = Field(ge=1, description="steps in all")
    kind: Literal["sgd", "adam"]
    is_on: bool
    widths: list[int]
    folder: FilePath | None
    decay: float | None = Field(ge=0, lt=1, description="of the average; empty for none")
    weights: Literal["none"] | list[float]
    fold: int | Literal["none"]
    prompt: Text = Field(description="what is shown")
    pixels: int = Field(ge=32, le=128, multiple_of=8, description="width")

    def __post_init__(self) -> None:
        require(self.steps >= len(self.widths), "widths", self.widths, f"need at most {self.steps}")


GOOD: dict[str, Any] = {
    "rate": 0.5,
    "steps": 3,
    "kind": "sgd",
    "is_on": True,
    "widths": [8, 16],
    "folder": None,
    "decay": None,
    "weights": "none",
    "fold": 0,
    "prompt": "a photo",
    "pixels": 64,
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
    ({"steps": 0}, r"models\.small\.steps: 0; need 1 or more: steps in all$"),
    ({"rate": 0}, r"models\.small\.rate: 0; need more than 0, at most 1: share of a step$"),
    ({"rate": math.nan}, r"models\.small\.rate: nan, need a finite number$"),
    ({"rate": 10**400}, r"models\.small\.rate: 10*0 is a whole number, need a number$"),
    ({"decay": 1.0}, r"models\.small\.decay: 1\.0; need 0 or more and less than 1: of the average; empty for none$"),
    ({"weights": "some"}, r"models\.small\.weights: 'some' is a string, need a list$"),
    ({"weights": [1.0, "x", "y"]}, r"models\.small\.weights\[1\]: 'x' is a string, need a number"),
    ({"fold": "some"}, r"models\.small\.fold: 'some' is not allowed; choose from none$"),
    ({"fold": True}, r"models\.small\.fold: True is not allowed; choose from none$"),
    ({"prompt": " "}, r"models\.small\.prompt: ' '; need some text: what is shown$"),
    ({"pixels": 36}, r"models\.small\.pixels: 36; need a multiple of 8 from 32 to 128: width$"),
    ({"widths": [1, 2, 3, 4]}, r"models\.small\.widths: \[1, 2, 3, 4\]; need at most 3$"),
    ({"wdths": [8], "steps": 0}, r"models\.small\.wdths: unknown key"),
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


def test_a_section_made_in_code_is_checked_as_well() -> None:
    with pytest.raises(ValueError, match=r"^steps: 0; need 1 or more: steps in all$"):
        Knobs(**GOOD | {"steps": 0})
    with pytest.raises(ValueError, match=r"^rate: 2\.0; need more than 0, at most 1"):
        replace(Knobs(**GOOD), rate=2.0)


@pytest.mark.parametrize("change", [{"prompt": "a \ud800"}, {"kind": "a \ud800"}])
def test_half_a_character_as_in_json_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^here.*'a .ud800' is a string, need whole characters"):
        convert(GOOD | change, Knobs, "here")


def test_a_dataclass_without_checks_is_not_read() -> None:
    @dataclass
    class Loose:
        steps: int

    with pytest.raises(TypeError, match="Loose: not a subclass of Checked"):
        convert({"steps": "3"}, Loose, "here")


def test_text_becomes_a_path(tmp_path: Path) -> None:
    assert read_section(write_knobs(tmp_path, {"folder": "a/b"}), "models.small.folder", FilePath) == Path("a/b")


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
