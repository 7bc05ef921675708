"""The text `parameters` of PNG files, as AUTOMATIC1111's web UI writes it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdaug.page.parameters import parameters_of, read_parameters, save_with_parameters, write_parameters

VALUES: dict[str, Any] = {
    "prompt": "two lines,\nof a prompt: yes",
    "negative_prompt": "blur",
    "sampler": "unipc",
    "steps": 20,
    "width": 64,
    "height": 128,
    "guidance_scale": 7.5,
    "seed": 123,
    "batch_size": 4,
    "precision": "bf16",
    "model": 'a, b: "c" <d>/0',
}
# As AUTOMATIC1111's web UI 1.10 writes it.
FOREIGN = """a cow, (barn:1.2)
Negative prompt: blurry, text
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 3141592653, Size: 512x640, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Lora hashes: "a: 1, b: 2", Version: v1.10.1"""


def test_text_has_the_three_parts() -> None:
    prompt, further, negative, settings = write_parameters(VALUES).splitlines()
    assert (prompt, further, negative) == ("two lines,", "of a prompt: yes", "Negative prompt: blur")
    assert settings.startswith("Steps: 20, Sampler: UniPC, CFG scale: 7.5, Seed: 123, Size: 64x128, Model: ")


LINE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(prompt=LINE, negative=LINE, model=LINE, seed=st.integers(0, 2**53), scale=st.floats(1, 30))
def test_whatever_is_written_is_read_back(prompt: str, negative: str, model: str, seed: int, scale: float) -> None:
    values = VALUES | {"prompt": prompt, "negative_prompt": negative, "model": model, "seed": seed}
    values |= {"guidance_scale": round(scale, 6)}
    found = read_parameters(write_parameters(values))
    assert dict(found.values) == values and found.remarks == []


def test_text_of_the_web_ui_is_read() -> None:
    found = read_parameters(FOREIGN)
    assert dict(found.values) == {
        "prompt": "a cow, (barn:1.2)",
        "negative_prompt": "blurry, text",
        "steps": 25,
        "sampler": "dpm_solver",
        "guidance_scale": 7.0,
        "seed": 3141592653,
        "width": 512,
        "height": 640,
        "model": "v1-5-pruned-emaonly",
    }


def test_a_prompt_alone_changes_nothing_else() -> None:
    assert dict(read_parameters("a cow").values) == {"prompt": "a cow", "negative_prompt": ""}


def test_what_is_not_known_is_told_and_left_out() -> None:
    found = read_parameters("x\nSteps: many, Sampler: Heun, CFG scale: 2, Size: big")
    assert sorted(found.values) == ["guidance_scale", "negative_prompt", "prompt"]
    assert [remark.split(":")[0] for remark in found.remarks] == ["Steps", "Size", "Sampler"]


def test_empty_text_is_refused() -> None:
    with pytest.raises(ValueError, match="Parameters: empty; paste"):
        read_parameters(" \n")


def test_png_keeps_the_text_in_all_letters(tmp_path: Path) -> None:
    for text in ("plain", "höher", "仔牛"):
        save_with_parameters(tmp_path / "a.png", Image.new("RGB", (8, 8)), text)
        assert parameters_of(tmp_path / "a.png") == text


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", "jpeg", "bare"])
def test_files_without_text_are_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "x.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        Image.new("RGB", (8, 8)).save(path, format="JPEG" if content == "jpeg" else "PNG")
    with pytest.raises(ValueError, match=r"x.png: (not a whole PNG file|no text `parameters`).*; drop a PNG"):
        parameters_of(path)
