"""Checks before DreamBooth: prompts are compared as the base reads them, and LoRA's learning rate is looked at."""

import argparse
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_dreambooth import KNOBS

from sdaug.common.params import ConceptParams
from sdaug.common.sections import read_section
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.dreambooth.training_checks import check_prompts, learning_rate_warning
from sdaug.pretrain.text import train_tokenizer

ROOT = Path(__file__).parents[1]
PARAMS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
LONG = "a photo of a teat end of a cow that was milked twice a day by hand"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer([], num_merges=0, max_tokens=48)  # one per letter, so that a prompt can be too long
    tokenizer.save_pretrained(path / "tokenizer")
    return path


def concepts(**prompts: str) -> dict[str, ConceptParams]:
    return {label: ConceptParams(instance_prompt=prompt) for label, prompt in prompts.items()}


@pytest.mark.parametrize(
    ("first", "second"),
    [("a photo of a zwa", "a photo of a ZWA"), ("a photo of a zwa", " a photo  of a zwa"), (LONG, f"{LONG} zwa")],
    ids=["case", "spaces", "length"],
)
def test_prompts_that_the_base_reads_alike_are_refused_and_named(base: Path, first: str, second: str) -> None:
    with pytest.raises(ValueError, match="are the same to the base") as error:
        check_prompts(base, concepts(one=first, two="a photo of a zwb", three=second), "a photo")
    for words in ("concepts.one.instance_prompt", repr(first), "concepts.three.instance_prompt", repr(second)):
        assert words in str(error.value)
    assert "two" not in str(error.value) and "\n" not in str(error.value)


def test_class_prompt_that_the_base_reads_as_an_instance_prompt_is_refused(base: Path) -> None:
    with pytest.raises(ValueError, match=r"concepts\.one\.instance_prompt.*and class_images\.prompt: 'A photo'"):
        check_prompts(base, concepts(one="a photo"), "A photo")


def test_class_prompt_that_is_not_trained_on_may_be_any(base: Path) -> None:
    check_prompts(base, concepts(one="a photo"), None)


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_committed_prompts_differ(base: Path, path: Path) -> None:
    found = read_section(path, "concepts", dict[str, ConceptParams])
    check_prompts(base, found, read_section(path, "class_images.prompt", str))


@pytest.mark.parametrize(
    ("method", "learning_rate", "is_warned"),
    [
        ("lora", 2.0e-6, True),
        ("lora", 1.0e-5, True),
        ("lora", 1.0e-4, False),
        ("lora", 2.0e-3, False),
        ("full", 2.0e-6, False),
        ("full", 2.0e-3, False),
    ],
)
def test_lora_is_warned_at_the_rate_of_full_training(method: Any, learning_rate: float, is_warned: bool) -> None:
    warning = learning_rate_warning(replace(KNOBS, method=method, learning_rate=learning_rate))
    assert (warning is not None) == is_warned
    if warning:
        assert str(learning_rate) in warning and "1.0e-4" in warning


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_committed_learning_rates_are_not_warned(path: Path) -> None:
    assert learning_rate_warning(read_section(path, "dreambooth", DreamBoothParams)) is None


def test_stage_warns_on_stderr_and_refuses_prompts_of_other_classes(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_settings = runpy.run_path(str(ROOT / "stages" / "dreambooth.py"))["check_settings"]
    text = (ROOT / "params.yaml").read_text()
    settings = argparse.Namespace(params=replace(KNOBS, method="lora", learning_rate=5.0e-6), class_prompt="a photo")
    for name, written in (("good", text), ("bad", text.replace(" zwc ", " ZWA "))):
        (tmp_path / f"{name}.yaml").write_text(written)
    check_settings(argparse.Namespace(params=tmp_path / "good.yaml", base=base), settings)
    assert capsys.readouterr().err.startswith("warning: params.yaml: dreambooth.learning_rate: 5e-06; ")
    with pytest.raises(ValueError, match=r"concepts\.score_1.*zwa.*concepts\.score_3.*ZWA"):
        check_settings(argparse.Namespace(params=tmp_path / "bad.yaml", base=base), settings)
