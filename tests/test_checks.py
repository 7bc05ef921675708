"""Checks before DreamBooth: prompts are compared as the base reads them, and LoRA's learning rate is looked at."""

import argparse
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import build_small
from test_dreambooth import KNOBS
from torch import nn

from sdaug.common.params import ConceptParams
from sdaug.common.precision import precision_warning
from sdaug.common.sections import read_section
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.dreambooth.training_checks import check_prompts, check_targets, learning_rate_warning
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


@pytest.mark.parametrize(
    ("target", "near"), [("to_qq", "to_q"), ("to_out", "to_out.0"), ("q_proj", "proj"), ("conv_1", "conv1")]
)
def test_misspelt_lora_target_is_refused_with_near_names(target: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"lora_targets: '{target}'; no layer of the UNet; near names:.*\b{near}\b"):
        replace(KNOBS, lora_targets=["to_k", target])


def test_lora_target_that_this_base_lacks_is_refused_though_others_fit(base: Path) -> None:
    build_small().unet.save_config(base / "unet")
    check_targets(base, replace(KNOBS, method="lora", lora_targets=["to_k", "mid_block.resnets.1.conv1"]))
    wrong = replace(KNOBS, method="lora", lora_targets=["to_k", "mid_block.resnets.7.conv1"])
    with pytest.raises(ValueError, match=r"'mid_block\.resnets\.7\.conv1'.*near: mid_block\.resnets\.\d\.conv1"):
        check_targets(base, wrong)
    check_targets(base, replace(wrong, method="full"))


def test_every_kind_of_layer_may_be_a_target() -> None:
    layers = [name for name, layer in build_small().unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert replace(KNOBS, lora_targets=layers).lora_targets == layers


@pytest.mark.parametrize(
    ("name", "capability", "has_bfloat16", "lack"),
    [
        ("fp16", (6, 1), False, "no tensor cores"),
        ("fp16", (7, 5), False, None),
        ("bf16", (7, 5), False, "only emulates bfloat16"),
        ("bf16", (8, 0), True, None),
        ("auto", (6, 1), False, None),
    ],
)
def test_precision_that_the_card_lacks_is_told(
    monkeypatch: pytest.MonkeyPatch, name: Any, capability: tuple[int, int], has_bfloat16: bool, lack: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "GPU of 2016")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    warning = precision_warning(name, torch.device("cuda"))
    assert (warning is None) if lack is None else (lack in str(warning) and "GPU of 2016" in str(warning))


def test_stage_refuses_float16_on_a_cpu_before_it_reads_photos(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_settings = runpy.run_path(str(ROOT / "stages" / "dreambooth.py"))["check_settings"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = argparse.Namespace(params=replace(KNOBS, precision="fp16"), class_prompt="a photo")
    with pytest.raises(ValueError, match="precision: 'fp16' needs a GPU"):
        check_settings(argparse.Namespace(params=ROOT / "params.yaml", base=base), settings)


def test_stage_warns_on_stderr_and_refuses_prompts_of_other_classes(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_settings = runpy.run_path(str(ROOT / "stages" / "dreambooth.py"))["check_settings"]
    text = (ROOT / "params.yaml").read_text()
    settings = argparse.Namespace(params=replace(KNOBS, method="lora", learning_rate=5.0e-6), class_prompt="a photo")
    build_small().unet.save_config(base / "unet")
    for name, written in (("good", text), ("bad", text.replace(" zwc ", " ZWA "))):
        (tmp_path / f"{name}.yaml").write_text(written)
    check_settings(argparse.Namespace(params=tmp_path / "good.yaml", base=base), settings)
    assert capsys.readouterr().err.startswith("warning: params.yaml: dreambooth.learning_rate: 5e-06; ")
    with pytest.raises(ValueError, match=r"concepts\.score_1.*zwa.*concepts\.score_3.*ZWA"):
        check_settings(argparse.Namespace(params=tmp_path / "bad.yaml", base=base), settings)
