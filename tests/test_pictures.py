"""The pictures of the report: styles that can be told apart, and files of pixels alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_results import read

from sdaug.verdict import pictures
from sdaug.verdict.drawing import styles_of
from sdaug.verdict.pictures import CAPTIONS, MAX_NAMED, MAX_PANELS, confusion_matrices, draw_comparison, draw_confusion
from sdaug.verdict.results import Study


def test_pictures_hold_no_metadata(study_dir: Path) -> None:
    for file in CAPTIONS:
        with Image.open(study_dir / "report" / file) as image:
            assert not set(image.info) - {"dpi"}, file


def test_white_stays_white(study_dir: Path) -> None:
    """A palette of averages could turn the background grey."""
    for file in CAPTIONS:
        with Image.open(study_dir / "report" / file) as image:
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255), file


def test_no_two_data_sets_look_the_same() -> None:
    """The arms preset has eighteen data sets, more than there are colours."""
    styles = styles_of(18)
    assert len({(colour, marker) for colour, marker, _ in styles}) == 18
    assert len({(colour, dash) for colour, _, dash in styles}) == 18


def test_many_arms_are_named_where_they_stand(study_dir: Path, tmp_path: Path) -> None:
    """With many arms the picture is wider and has no legend."""
    study = read(study_dir / "metrics")
    widths = []
    for name, copies in (("few", 1), ("many", 7)):
        draw_comparison(tmp_path / f"{name}.png", replace(study, datasets=study.datasets * copies))
        with Image.open(tmp_path / f"{name}.png") as image:
            widths.append(image.width)
    assert widths[1] > widths[0]


def drawn_confusion(study: Study, monkeypatch: pytest.MonkeyPatch) -> Figure:
    figures = list[Figure]()
    monkeypatch.setattr(pictures, "save", lambda figure, _: figures.append(figure))
    draw_confusion(Path("unused.png"), study)
    return figures[0]


def test_many_classes_have_no_number_in_each_cell(study_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred classes, ten thousand numbers per panel would take minutes, and none could be read."""
    study = read(study_dir / "metrics")
    few = drawn_confusion(study, monkeypatch).axes[0]
    assert len(few.texts) == len(study.classes) ** 2 and len(few.get_xticks()) == len(study.classes)
    classes = tuple(f"class_{k}" for k in range(100))
    counts = np.ones((100, 100), dtype=np.int64)
    results = {pair: replace(result, confusion=counts) for pair, result in study.results.items()}
    many = drawn_confusion(replace(study, classes=classes, results=results), monkeypatch).axes[0]
    assert not many.texts and len(many.get_xticks()) <= MAX_NAMED
    assert [label.get_text() for label in many.get_yticklabels()][1] == f"class_{int(many.get_yticks()[1])}"


def test_many_runs_share_a_matrix_per_arm(study_dir: Path) -> None:
    study = read(study_dir / "metrics")
    each = confusion_matrices(study)
    assert len(each) == len(study.models) * len(study.datasets)
    models = [f"model_{n}" for n in range(1 + MAX_PANELS // len(study.datasets))]
    results = {(model, arm): study.results[study.models[0], arm] for model in models for arm in study.datasets}
    together = confusion_matrices(replace(study, seeds=dict.fromkeys(models, (0,)), results=results))
    assert [title.partition("\n")[2] for title in together] == list(study.datasets)
    for matrix, arm in zip(together.values(), study.datasets, strict=True):
        assert (matrix == len(models) * study.results[study.models[0], arm].confusion).all()
