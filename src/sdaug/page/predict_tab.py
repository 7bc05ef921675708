"""The tab that predicts: photos of any kind that stage `prepare` reads, by two trained classifiers side by side."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdaug.classify.inference import predict
from sdaug.classify.models import ModelCard, load_model
from sdaug.common.device import prepare_device
from sdaug.page.classifier_photo import read_photo
from sdaug.page.draw_tab import DEVICE
from sdaug.page.messages import safe, told
from sdaug.page.study_folder import StudyFolder
from sdaug.photos.formats import NAMES

MOST_PHOTOS = 64


@dataclass(frozen=True)
class Opinion:
    """What a classifier says of some photos: their pixels as it saw them, and probabilities `(N, K)`."""

    name: str
    card: ModelCard
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]


class PredictTab:
    """The tab; classifiers are loaded for each question, since that takes less than a second."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder

    def build(self) -> None:
        """Lay out the tab, inside a `gr.Blocks`."""
        names = self.folder.list_classifiers()
        with gr.Row():
            first, second = _pick(names, "-original/"), _pick(names, "-augmented/")
            own: dict[str, Any] = {"min_width": 200, "allow_custom_value": True}  # one that has gone is told
            self.first = gr.Dropdown(names, value=first, label="Classifier", **own)
            self.second = gr.Dropdown(names, value=second, label="and another", **own)
        photos = gr.File(label=f"Photos: {NAMES}", file_count="multiple", elem_id="photos", height=150)
        ask = gr.Button("Predict", variant="primary")
        answer = gr.HTML("", elem_id="predicted")
        where: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": DEVICE, "api_visibility": "private"}
        inputs = [photos, self.first, self.second]
        ask.click(self._predict, inputs, answer, **where)
        photos.upload(self._predict, inputs, answer, **where)

    def refresh(self) -> tuple[Any, Any]:
        """The classifiers that are on disk now."""
        names = self.folder.list_classifiers()
        return gr.Dropdown(choices=names), gr.Dropdown(choices=names)

    def _predict(self, files: list[str] | None, first: str | None, second: str | None) -> str:
        with told():
            names = list(dict.fromkeys(name for name in (first, second) if name))
            if not files:
                raise ValueError(f"Photos: none; drop some, {NAMES} files")
            if len(files) > MOST_PHOTOS:
                raise ValueError(
                    f"Photos: {len(files)}, need at most {MOST_PHOTOS} at a time; `sdaug predict` takes any number"
                )
            if not names:
                raise ValueError("Classifier: none chosen; `dvc repro train` trains those of the study")
            paths = [Path(file) for file in files]
            opinions = [ask(self.folder.classifier_dir(name), name, paths) for name in names]
        return "".join(_show(path.name, n, opinions) for n, path in enumerate(paths))


def ask(folder: Path, name: str, paths: list[Path]) -> Opinion:
    """What the classifier in a folder says of photos, as `sdaug predict` does.

    Raises:
        ValueError: a file is no photo that can be read.
    """
    model, card = load_model(folder, prepare_device())
    pixels = np.stack([_read(path, card) for path in paths])
    return Opinion(name, card, pixels, predict(model, pixels, card))


def _read(path: Path, card: ModelCard) -> NDArray[np.uint8]:
    try:
        return read_photo(path, card)
    except (FileNotFoundError, ValueError) as error:  # without the folder to which the browser has uploaded it
        raise ValueError(str(error).replace(str(path), path.name)) from error


def _pick(names: list[str], part: str) -> str | None:
    return next((name for name in names if part in name), names[0] if names else None)


def _show(file: str, n: int, opinions: list[Opinion]) -> str:
    """A photo, as it was prepared, and a table of bars of each classifier."""
    tables = "".join(_table(opinion, opinion.probabilities[n]) for opinion in opinions)
    picture = f"<img src='{_data_uri(opinions[0].pixels[n])}' alt=''>"
    return f"<section class='predicted'><h3>{safe(file)}</h3>{picture}<div class='opinions'>{tables}</div></section>"


def _table(opinion: Opinion, probabilities: NDArray[np.float64]) -> str:
    best = int(probabilities.argmax())
    rows = "".join(
        f"<tr{' class=best' if k == best else ''}><th>{safe(label)}</th><td>"
        f"<meter min='0' max='1' value='{p:.6f}'></meter></td><td class='number'>{100 * p:.1f} %</td></tr>"
        for k, (label, p) in enumerate(zip(opinion.card.classes, probabilities, strict=True))
    )
    return f"<table><caption>{safe(opinion.name)}</caption>{rows}</table>"


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
