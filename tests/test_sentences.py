"""The verdict in words follows the interval of the mean difference."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower
from studies import PARAMS, PREPARED, inputs_of
from test_results import CLASSES, LABELS, MODELS, predict, write_run

from sdaug.common.sections import read_params
from sdaug.verdict import conclusions
from sdaug.verdict.conclusions import find_conclusions, find_effect
from sdaug.verdict.limits import find_limits
from sdaug.verdict.results import Study, read_study
from sdaug.verdict.statistics import Estimate, quantile


def three_seeds(metrics_dir: Path, leaning: float) -> Study:
    """A study of `original` and `remedy`, whose probabilities lean towards the true class by so much."""
    for model, (d, dataset), seed in product(MODELS, enumerate(("original", "remedy")), range(3)):
        probabilities = predict(MODELS.index(model), d, seed)
        probabilities[np.arange(len(LABELS)), LABELS] += leaning * d
        probabilities = np.clip(probabilities, 0, None)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        write_run(metrics_dir, f"{model}-{dataset}", seed, probabilities, validation=0.5)
    arms = ["original", "remedy"]
    return read_study(metrics_dir, classes=CLASSES, seeds=dict.fromkeys(MODELS, range(3)), datasets=arms, remedies=arms)


@pytest.fixture
def _two_groups_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rarest class of these tests has four images in two groups."""
    monkeypatch.setattr(conclusions, "MIN_GROUPS", 2)


def test_class_of_few_groups_leaves_the_verdict_open(tmp_path: Path) -> None:
    finding, *_ = find_conclusions(three_seeds(tmp_path, 0.9))
    assert finding.effect == "undecided (score_3 has test photos of 2 groups, of 5 needed)"
    assert finding.sentence.startswith(f"remedy against original: {finding.effect}. Over 2 models")


@pytest.mark.usefixtures("_two_groups_are_enough")
@pytest.mark.parametrize(("leaning", "verdict"), [(0.9, "helps"), (-0.9, "harms"), (0.0, "undecided (an effect of ")])
def test_verdict_on_an_arm_follows_its_interval(tmp_path: Path, leaning: float, verdict: str) -> None:
    finding, *_ = find_conclusions(three_seeds(tmp_path, leaning))
    assert finding.effect.startswith(verdict)


@pytest.mark.usefixtures("_two_groups_are_enough")
@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.02, "no effect as large as 6.1 points"), (0.05, "undecided (an effect of 15 points cannot be ruled out)")],
)
def test_effect_that_is_ruled_out_could_have_been_detected(tmp_path: Path, error: float, verdict: str) -> None:
    study = three_seeds(tmp_path, 0.0)
    contrast, *_ = study.contrasts
    estimate = Estimate(value=0.0, standard_error=error, critical_value=quantile(12.0))
    power = TTestPower().power(estimate.detectable / error / math.sqrt(13), nobs=13, alpha=0.05)
    assert find_effect(replace(contrast, mean={"test_balanced_accuracy": estimate}), study) == verdict
    assert power == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    "training",
    [{"synthetic_weight": 0.25}, {"synthetic_share": 0.2}, {"pretrain_steps": 70}, {"soften": 0.5}, {"loss": "focal"}],
)
def test_arm_that_trains_in_another_way_is_a_limit(tmp_path: Path, training: dict[str, Any]) -> None:
    arm = read_params(PARAMS)["arm"]
    arms = {"original": arm, "remedy": {**arm, "training": arm["training"] | training}}
    limits = find_limits(inputs_of(three_seeds(tmp_path, 0.0), arms=arms), None)
    ((key, value),) = training.items()
    plain = "none" if arm["training"][key] is None else arm["training"][key]
    said = f"remedy differs from original in training, too: {key} {value} instead of {plain}."
    assert any(limit.startswith(said) for limit in limits)
    (split, *_) = limits
    assert split.startswith("All results come from one split") and "the intervals do not include that" in split


def test_photos_that_the_study_does_not_use_are_a_limit_with_their_parts_and_classes(tmp_path: Path) -> None:
    inputs = inputs_of(three_seeds(tmp_path, 0.0))
    prepared = replace(
        PREPARED,
        duplicates={"test.no_tumor": 200, "train.no_tumor": 194},
        broken_of_class={"train.glioma": 2},
        unused=["a: a link to a folder"],
    )
    said = (
        "Of the photos that were given, the study does not use 394 exact copies (200 test.no_tumor, 194 "
        "train.no_tumor), 2 unreadable photos (2 train.glioma), 1 links and the like that are not read."
    )
    assert said in find_limits(replace(inputs, prepare=prepared), None)
    assert not any("does not use" in limit for limit in find_limits(inputs, None))
