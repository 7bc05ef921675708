"""The forest plot and the dose curve: what they draw and when there is one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_results import DATASETS, MODELS, read, write_runs

from sdaug.common.params import read_arms
from sdaug.verdict.dose import draw_dose, find_doses
from sdaug.verdict.forest import MEAN, draw_forest
from sdaug.verdict.results import PRIMARY, Study

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with a single contrast."""
    root = tmp_path_factory.mktemp("metrics")
    write_runs(root)
    found = read(root)
    return replace(found, contrasts=found.contrasts[:1])


def pixels_of(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def draw(study: Study, path: Path) -> NDArray[np.uint8]:
    draw_forest(path, study)
    return pixels_of(path)


def count_blue(pixels: NDArray[np.uint8]) -> int:
    blue = [int(MEAN[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels.astype(int) - blue).max(axis=2) < 8).sum())


def test_forest_grows_by_a_block_for_each_pair_of_arms(study: Study, tmp_path: Path) -> None:
    heights = [
        draw(replace(study, contrasts=study.contrasts * copies), tmp_path / f"{copies}.png").shape[0]
        for copies in (1, 2, 3)
    ]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=1) and heights[1] > heights[0]


def test_forest_of_many_arms_shows_means_alone(study: Study, tmp_path: Path) -> None:
    """Fifteen contrasts of two models are 60 rows, sixteen are too many."""
    all_rows = draw(replace(study, contrasts=study.contrasts * 15), tmp_path / "all.png")
    means = draw(replace(study, contrasts=study.contrasts * 16), tmp_path / "means.png")
    assert means.shape[0] < 0.5 * all_rows.shape[0]


def test_forest_shows_an_interval_only_where_it_is_known(study: Study, tmp_path: Path) -> None:
    """Two runs per model give none; a hollow diamond has less ink than a filled one with its line."""
    contrast, *_ = study.contrasts
    estimate = replace(contrast.mean[PRIMARY], standard_error=0.02, critical_value=2.086)
    known = replace(study, contrasts=(replace(contrast, mean=contrast.mean | {PRIMARY: estimate}),))
    assert not contrast.mean[PRIMARY].is_known
    assert count_blue(draw(known, tmp_path / "known.png")) > 2 * count_blue(draw(study, tmp_path / "unknown.png")) > 0


def test_forest_without_a_pair_of_arms_is_an_empty_picture(study: Study, tmp_path: Path) -> None:
    assert count_blue(draw(replace(study, contrasts=()), tmp_path / "empty.png")) == 0


def test_doses_are_those_of_arms_that_differ_in_nothing_else() -> None:
    arms = read_arms(ROOT / "presets" / "arms.yaml")
    assert list(find_doses(arms)) == [0, 0.25, 0.5, 1, 2]
    assert find_doses(arms)[1] == "augmented"


def test_two_doses_are_no_curve() -> None:
    arms = read_arms(ROOT / "presets" / "arms.yaml")
    assert find_doses({name: arms[name] for name in ("original", "augmented", "shuffled", "focal")}) == {}
    assert find_doses({}) == {}


def test_dose_curve_has_a_line_for_each_model(study: Study, tmp_path: Path) -> None:
    doses = dict(enumerate(DATASETS))
    draw_dose(tmp_path / "two.png", study, doses)
    draw_dose(tmp_path / "one.png", replace(study, seeds={MODELS[0]: (0, 1)}, pooled=MODELS[:1]), doses)
    assert (pixels_of(tmp_path / "two.png") != pixels_of(tmp_path / "one.png")).any()
