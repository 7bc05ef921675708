"""Intervals of differences: their parts agree with textbook formulas, and they cover what they say."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from verdict import RARE, Design, Varied, measure

from sdaug.verdict.statistics import (
    Folds,
    correct_for_many,
    estimate_recall,
    estimate_runs,
    exact_test,
    image_variance,
)

METRIC = "test_balanced_accuracy"


def alone(num_images: int) -> list[str]:
    """Each image in a group of its own."""
    return [str(n) for n in range(num_images)]


def test_variance_of_single_images_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=50)
    variance, degrees = image_variance(values, np.zeros(50, dtype=np.int64), alone(50))
    assert variance == pytest.approx(stats.sem(values) ** 2) and degrees == pytest.approx(49)


def test_variance_of_a_balanced_mean_is_that_of_welch() -> None:
    stream = np.random.default_rng(0)
    parts = stream.normal(size=30), stream.normal(size=6)
    values, strata = np.concatenate(parts), np.repeat([0, 1], [30, 6])
    variance, degrees = image_variance(values, strata, alone(36))
    welch = stats.ttest_ind(*parts, equal_var=False)
    assert 4 * variance == pytest.approx(sum(stats.sem(part) ** 2 for part in parts))
    assert degrees == pytest.approx(welch.df)


def test_copies_in_a_group_add_nothing() -> None:
    values, strata = np.random.default_rng(0).normal(size=20), np.zeros(20, dtype=np.int64)
    once = image_variance(values, strata, alone(20))
    fourfold = image_variance(np.repeat(values, 4), np.repeat(strata, 4), [str(n // 4) for n in range(80)])
    assert fourfold == pytest.approx(once)


def test_class_of_one_group_has_no_variance_to_tell() -> None:
    assert all(map(math.isnan, image_variance(np.ones(4), np.array([0, 0, 1, 1]), ["a", "b", "c", "c"])))


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3, 0.1 + 0.2])
def test_images_that_agree_are_not_certain(value: float) -> None:
    """None of six is right, all are, or each by the same share of runs, whatever its rounding."""
    variance, degrees = image_variance(np.full(6, value), np.zeros(6, dtype=np.int64), alone(6))
    assert variance == pytest.approx(stats.beta(0.5, 6.5).var()) and degrees == pytest.approx(5)


def three_times(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three equal runs of one model, so that only the choice of images is left: `(1, 3, N)`."""
    return np.stack([values] * 3)[None]


def test_score_of_a_model_is_its_mean_with_an_interval() -> None:
    correct, labels = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 0, 0, 1, 1])
    found = estimate_runs(three_times(correct), labels, alone(6))
    assert found["test_accuracy"].value == 0.5 and found[METRIC].value == pytest.approx(0.375)
    assert found["test_accuracy"].low < 0.5 < found["test_accuracy"].high


def test_two_runs_are_too_few_for_an_interval() -> None:
    gains = np.random.default_rng(0).integers(-1, 2, (2, 2, 40)).astype(float)
    assert not estimate_runs(gains, np.arange(40) % 2, alone(40))[METRIC].is_known


def test_runs_that_disagree_widen_the_interval() -> None:
    stream, labels = np.random.default_rng(0), np.arange(400) % 2
    same = np.repeat((stream.random((1, 1, 400)) < 0.2).astype(float), 5, axis=1)
    shares = np.linspace(0.0, 0.4, 5)[None, :, None]
    other = (stream.random((1, 5, 400)) < shares).astype(float)
    narrow, wide = (estimate_runs(gains, labels, alone(400))[METRIC] for gains in (same, other))
    assert wide.standard_error > 2 * narrow.standard_error


def test_detectable_effect_is_that_of_a_t_test() -> None:
    values = np.random.default_rng(0).normal(size=25)
    found = estimate_runs(three_times(values), np.zeros(25, dtype=np.int64), alone(25))["test_accuracy"]
    power = TTestPower().solve_power(effect_size=found.detectable / values.std(ddof=1), nobs=25, alpha=0.05)
    assert power == pytest.approx(0.8, abs=0.01)


def test_luck_known_from_few_runs_keeps_their_quantile() -> None:
    """Where runs alone differ, the interval is that of a t test of the three runs; where images alone do, of these."""
    runs = np.stack([np.full(400, score) for score in (0.1, 0.3, 0.2)])[None]
    of_runs = estimate_runs(runs, np.zeros(400, dtype=np.int64), alone(400))["test_accuracy"]
    assert (of_runs.low, of_runs.high) == pytest.approx(
        stats.t.interval(0.95, 2, 0.2, stats.sem([0.1, 0.3, 0.2])), abs=0.02
    )
    values = np.random.default_rng(0).normal(size=25)
    of_images = estimate_runs(three_times(values), np.zeros(25, dtype=np.int64), alone(25))["test_accuracy"]
    assert (of_images.low, of_images.high) == pytest.approx(
        stats.t.interval(0.95, 24, values.mean(), stats.sem(values))
    )


def test_draw_that_all_models_share_is_not_averaged_out() -> None:
    """Four models that all follow the luck of their draw are no more certain than one."""
    stream, labels = np.random.default_rng(0), np.arange(400) % 2
    shares = np.array([0.1, 0.3, 0.5])[None, :, None]
    gains = (stream.random((4, 3, 400)) < shares).astype(float)
    apart, together = (estimate_runs(gains, labels, alone(400), draws)[METRIC] for draws in (None, [0, 1, 2]))
    assert together.value == pytest.approx(apart.value)
    assert together.standard_error > 1.8 * apart.standard_error


def test_runs_of_one_draw_count_as_one() -> None:
    gains = np.random.default_rng(0).integers(-1, 2, (1, 6, 40)).astype(float)
    labels = np.arange(40) % 2
    doubled = estimate_runs(gains, labels, alone(40), [0, 0, 1, 1, 2, 2])[METRIC]
    means = gains.reshape(1, 3, 2, 40).mean(axis=2)
    assert doubled == estimate_runs(means, labels, alone(40), [0, 1, 2])[METRIC]
    assert not estimate_runs(gains, labels, alone(40), [0, 1, 0, 1, 0, 1])[METRIC].is_known


def test_recall_of_no_image_of_six_is_not_certain() -> None:
    interval = estimate_recall(np.zeros((3, 6)), alone(6))
    assert interval is not None
    assert interval == pytest.approx(proportion_confint(0, 6, method="jeffreys"))


def test_recall_on_independent_images_is_that_of_jeffreys() -> None:
    correct = np.repeat([0.0, 1.0], [30, 70])
    interval = estimate_recall(np.stack([correct] * 3), alone(100))
    assert interval == pytest.approx(proportion_confint(70, 100, method="jeffreys"), abs=0.003)


def test_recall_of_photos_of_one_animal_is_unknown() -> None:
    assert estimate_recall(np.ones((3, 6)), ["a"] * 6) is None


def test_exact_test_is_that_of_signs() -> None:
    found = exact_test(np.repeat([1.0, 0.0, -1.0], [9, 50, 2]))
    assert (found.num_gained, found.num_lost) == (9, 2)
    assert found.p_value == pytest.approx(stats.binomtest(9, 11).pvalue)


def test_equal_runs_do_not_differ() -> None:
    assert exact_test(np.zeros(10)).p_value == 1


def test_correction_is_that_of_holm() -> None:
    assert correct_for_many([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


DESIGNS = (
    Design(num_models=2, num_seeds=3, effect=0.05, run_luck=0.08),
    Design(num_models=3, num_seeds=3, effect=0.0, run_luck=0.05, draw_luck=0.05),
    Varied(draw_luck=0.08),
    Varied(num_test=RARE, has_heavy_tails=True),
    Varied(fold_luck=0.02),
)


def test_luck_of_folds_is_that_of_the_jackknife() -> None:
    """Runs of four folds that are as good on every image: delete-a-group jackknife, beside a variance of images."""
    scores = np.array([0.1, 0.3, 0.2, 0.6])
    folds = Folds(of_run=(0, 0, 1, 1, 2, 2, 3, 3), overlap=2 / 3)
    values = np.broadcast_to(np.repeat(scores, 2)[None, :, None], (3, 8, 50))
    found = estimate_runs(values, np.zeros(50, dtype=np.int64), alone(50), [0, 1] * 4, folds)["test_accuracy"]
    jackknife = 3 / 4 * np.square(scores - scores.mean()).sum()
    of_images, degrees = image_variance(np.full(50, 0.3), np.zeros(50, dtype=np.int64), alone(50))
    assert found.value == pytest.approx(0.3)
    assert found.standard_error**2 == pytest.approx(of_images + jackknife)
    widths = of_images * stats.t.ppf(0.975, degrees) ** 2 + jackknife * stats.t.ppf(0.975, 3) ** 2
    assert found.high - found.value == pytest.approx(math.sqrt(widths))


def test_two_folds_do_not_tell_how_folds_differ() -> None:
    gains = np.random.default_rng(0).integers(-1, 2, size=(3, 6, 40)).astype(float)
    folds = Folds(of_run=(0, 0, 0, 1, 1, 1), overlap=0.5)
    assert not estimate_runs(gains, np.arange(40) % 2, alone(40), [0, 1, 2] * 2, folds)[METRIC].is_known


@pytest.mark.parametrize("design", DESIGNS, ids=("training", "draws", "varied draws", "rare class", "folds"))
def test_intervals_cover_the_true_effect(design: Design | Varied) -> None:
    """300 simulated studies; `benchmarks/verdict.py` simulates 2,000 of each design."""
    assert 0.92 <= measure(design, 300)["coverage"] <= 0.98
