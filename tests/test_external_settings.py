"""Settings of images from elsewhere: what AUTOMATIC1111, ComfyUI and tables say of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdaug.common.external_images import Settings
from sdaug.external.settings import merge_settings, read_settings, read_settings_table

PARAMETERS = (
    "a photo of rust,\non a leaf\nNegative prompt: blurry, text\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 7, "
    'Seed: 123456, Size: 512x512, Model hash: 6ce0161689, Model: v1-5, Lora hashes: "a: 1, Seed: 9", Version: v1.10.1'
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 77, "positive": ["9", 0], "negative": ["7", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a photo of rust", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "9": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
}


def save(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path, pnginfo=info)
    return path


def test_parameters_of_automatic1111_are_read(tmp_path: Path) -> None:
    settings, text = read_settings(save(tmp_path / "a.png", parameters=PARAMETERS))
    assert settings == Settings(
        tool="AUTOMATIC1111",
        prompt="a photo of rust, on a leaf",
        negative_prompt="blurry, text",
        seed="123456",
        model="v1-5",
    )
    assert text == PARAMETERS


@pytest.mark.parametrize(("encoding", "name"), [("utf-16-be", "a.jpg"), ("utf-16-le", "a.webp")])
def test_parameters_in_the_comment_of_a_jpeg_or_webp_are_read(tmp_path: Path, encoding: str, name: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode(encoding)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / name, exif=exif)
    assert read_settings(tmp_path / name)[0].seed == "123456"


def test_the_graph_of_comfyui_is_read_and_kept(tmp_path: Path) -> None:
    graph = json.dumps(GRAPH)
    settings, text = read_settings(save(tmp_path / "a.png", prompt=graph, workflow="{}"))
    wanted = {"prompt": "a photo of rust", "negative_prompt": "blurry", "seed": "77", "model": "sd_xl.safetensors"}
    assert settings == Settings(tool="ComfyUI", **wanted) and text == graph


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"prompt": "not JSON"},
        {"prompt": "[1, 2]"},
        {"prompt": '{"1": 3}'},
        {"prompt": "[" * 100_000},
        {"Comment": "made with GIMP"},
    ],
)
def test_other_texts_are_no_settings(tmp_path: Path, texts: dict[str, str]) -> None:
    assert read_settings(save(tmp_path / "a.png", **texts)) == (Settings(), "")


def test_a_graph_of_loops_ends(tmp_path: Path) -> None:
    graph = {"1": {"inputs": {"positive": ["2", 0]}}, "2": {"inputs": {"conditioning": ["2", 0]}}}
    assert read_settings(save(tmp_path / "a.png", prompt=json.dumps(graph)))[0] == Settings(tool="ComfyUI")


def test_a_file_that_is_no_image_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    assert read_settings(tmp_path / "a.png") == (Settings(), "")


def test_a_table_goes_before_what_an_image_says(tmp_path: Path) -> None:
    table = tmp_path / "settings.csv"
    table.write_text("file,prompt,seed,license\nrust/a.png,a leaf,5,cc0\n")
    found = read_settings_table(table, ["rust/a.png", "rust/b.png"])
    own = Settings(tool="AUTOMATIC1111", prompt="rust", model="v1-5")
    merged = merge_settings(own, found["rust/a.png"])
    assert merged == Settings(tool="AUTOMATIC1111", prompt="a leaf", seed="5", model="v1-5")
    assert merge_settings(own, found.get("rust/b.png")) == own
    assert merged.caption == "a leaf; seed 5, model v1-5, by AUTOMATIC1111"
    assert merge_settings(Settings(), found["rust/a.png"]).tool == "table"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", r"settings.csv: no column file; need file; correct the table"),
        ("file\nrust/c.png\n", r"settings.csv: file 'rust/c.png': no such image; give paths below the folder"),
        ("file\nrust/a.png\nrust\\a.png\n", r"settings.csv: file 'rust\\\\a.png': in several rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "settings.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_settings_table(tmp_path / "settings.csv", ["rust/a.png"])
