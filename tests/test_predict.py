"""`sdaug predict`: the folder of a trained model is all that is needed to classify photos."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sdaug.classify.inference import predict
from sdaug.classify.models import build_model, create_network, save_model
from sdaug.photos.decode import decode_photo
from sdaug.run.cli import main
from sdaug.train.probe import RECIPE

CLASSES = ["healthy", "ill"]


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model, card = build_model(replace(RECIPE, image_size=24), CLASSES, prepared_pixels=32, square="pad")
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, model.state_dict(), card)
    return folder


def save_photo(path: Path, *, width: int, height: int) -> Path:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_probabilities_are_those_of_the_prepared_photo(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [save_photo(tmp_path / "a.jpg", width=60, height=40), save_photo(tmp_path / "b.png", width=33, height=70)]
    main(["predict", str(model_dir), *map(str, photos)])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    model = create_network("custom", 2, {}).eval()
    model.load_state_dict(load_file(model_dir / "model.safetensors"))
    pixels = np.stack([decode_photo(path.read_bytes(), size_pixels=32, square="pad") for path in photos])
    _, card = build_model(replace(RECIPE, image_size=24), CLASSES, prepared_pixels=32)
    wanted = predict(model, pixels, card)
    assert [row["file"] for row in rows] == [str(path) for path in photos]
    found = np.array([[float(row["p_healthy"]), float(row["p_ill"])] for row in rows])
    assert found == pytest.approx(wanted, abs=1e-5)
    assert [row["class"] for row in rows] == [CLASSES[k] for k in wanted.argmax(axis=1)]


def save_deep(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("maximum", [4095, None])
def test_16_bit_photos_are_scaled_as_the_card_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], maximum: int | None
) -> None:
    torch.manual_seed(0)
    model, card = build_model(RECIPE, CLASSES, prepared_pixels=32, sixteen_bit_maximum=maximum)
    save_model(tmp_path, model.state_dict(), card)
    photo = save_deep(tmp_path / "deep.png")
    main(["predict", str(tmp_path), str(photo)])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    pixels = decode_photo(photo.read_bytes(), size_pixels=32, square="crop", sixteen_bit_maximum=maximum)
    wanted = predict(model.to(memory_format=torch.channels_last), pixels[None], card)
    assert pixels.max() > 100 or maximum is None
    assert [float(row["p_healthy"]), float(row["p_ill"])] == pytest.approx(wanted[0], abs=1e-5)


def test_a_card_from_before_the_setting_still_loads(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save_deep(tmp_path / "deep.png")
    main(["predict", str(model_dir), str(photo)])
    wanted = capsys.readouterr().out
    card = json.loads((model_dir / "config.json").read_text())
    del card["sixteen_bit_maximum"]
    (model_dir / "config.json").write_text(json.dumps(card))
    main(["predict", str(model_dir), str(photo)])
    assert capsys.readouterr().out == wanted


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jpg", None, r"missing.jpg: cannot be read \(No such file"),
        ("text.jpg", b"not a photo", r"text.jpg: not a JPEG, PNG, .*; repair it or leave it out"),
    ],
)
def test_photo_that_cannot_be_read_is_named_and_nothing_is_printed(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    good = save_photo(tmp_path / "good.png", width=40, height=40)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        main(["predict", str(model_dir), str(good), str(tmp_path / name)])
    assert capsys.readouterr().out == ""


def test_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere/config.json: no such file"):
        main(["predict", str(tmp_path / "nowhere"), "a.jpg"])
