"""One of each kind of file that stages read, and how each is read, for the tests of edited and damaged files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from sdaug.classify.models import load_model
from sdaug.common.device import prepare_device
from sdaug.common.files import read_json, write_csv
from sdaug.common.manifest import Photo, read_manifest, write_manifest
from sdaug.common.packed import read_packed
from sdaug.common.photo_copies import PhotoCopy, read_copies, write_copies
from sdaug.common.provenance import read_record
from sdaug.common.sections import read_params
from sdaug.common.synthetic import read_synthetic

PARAMS = Path(__file__).parents[1] / "params.yaml"
CLASSES = ("a", "b")


def write_stage_files(folder: Path) -> None:
    """Fill a folder with one of each kind of file that a stage reads and a hand may have edited."""
    photos = [
        Photo(id=f"{n:012x}", label=CLASSES[n % 2], group=f"g{n}", split="train", fold=n % 4, sha256=f"{n:064x}")
        for n in range(6)
    ]
    write_manifest(folder / "prepared" / "manifest.csv", photos)
    copy = PhotoCopy(first=photos[0].id, second=photos[1].id, distance=4, correlation=0.95, view=0)
    write_copies(folder / "prepared", [copy])
    rows = [{"id": photo.id, "sha256": photo.sha256} for photo in photos]
    write_csv(folder / "record" / "photos.csv", rows)
    drawing = read_params(PARAMS)["synthesize"]["drawing"]
    write_csv(
        folder / "synthetic" / "manifest.csv",
        [
            {"id": f"synthetic-{n:010d}", "label": "a", "file": f"seed_{n:010d}.png", "draw": 0, "variant": "plain"}
            | {"photo": "", "seed": n, "prompt": "a photo", "height": 8, "width": 8, **drawing}
            for n in range(3)
        ],
    )
    for n in range(3):
        (folder / "synthetic" / f"seed_{n:010d}.png").touch()
    np.save(folder / "images.npy", np.zeros((6, 8, 8, 3), np.uint8))
    packed = [
        {"id": photo.id, "group": photo.group, "label": photo.label, "origin": "real", "part": "train", "draw": ""}
        for photo in photos
    ]
    write_csv(folder / "packed" / "examples.csv", packed)
    shutil.move(folder / "images.npy", folder / "packed" / "images.npy")
    (folder / "found.json").write_text(json.dumps({"a": 1.5, "b": [1, {"c": None}]}))
    card = {"architecture": "custom", "options": {"width": 16}, "classes": list(CLASSES), "image_size": 16}
    card |= {"mean": [0.5] * 3, "std": [0.5] * 3, "pretrained": None, "prepared_pixels": 16, "square": "crop"}
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(card))
    (folder / "model" / "model.safetensors").write_bytes(save({"weight": np.zeros(4, np.float32)}))


READERS: dict[str, Callable[[Path], object]] = {
    "prepared/manifest.csv": lambda path: read_manifest(path.parent),
    "prepared/copies.csv": lambda path: read_copies(path.parent),
    "record/photos.csv": lambda path: read_record(path.parent),
    "synthetic/manifest.csv": lambda path: read_synthetic(path.parent),
    "packed/examples.csv": lambda path: read_packed(path.parent, CLASSES).draws,
    "packed/images.npy": lambda path: read_packed(path.parent, CLASSES).images.sum(),
    "found.json": read_json,
    "model/config.json": lambda path: load_model(path.parent, prepare_device(1)),
    "model/model.safetensors": lambda path: load_model(path.parent, prepare_device(1)),
}
