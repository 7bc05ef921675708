"""Confidence intervals of scores and of score differences, over test images, training runs and draws of generators.

Test images and training runs are crossed random effects: every run is tested on the same images. Runs are nested in
draws: models that were trained on images of one draw share its luck; both are nested in folds of a cross-validation.
Variances come from the influence of each group of images (cluster-robust, Cameron and Miller, doi 10.3368/jhr.50.2.317)
and of each run; each keeps its own quantile of the t distribution (Banerjee, Sankhya 23, 1961). docs/statistics.md
derives it, and says what the intervals cover.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIDENCE, POWER = 0.95, 0.80
ROUNDING = 1.0e-15  # what is left of a variance of equal values; one run that differs on one image gives 1e-9
DEGREES = (1.0, 1000.0)  # of freedom; from the larger on, a t distribution is a normal one
MIN_RUNS = 3  # training runs per model, or draws: with fewer, their variation is a guess (two cover 89 %, not 95 %)


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Variance(NamedTuple):
    """An estimated variance, and the degrees of freedom with which it is known."""

    value: float
    degrees: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score or difference, its standard error, and how many of these the interval reaches; NaN where not known."""

    value: float
    standard_error: float
    critical_value: float

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.standard_error)

    @property
    def interval(self) -> Interval | None:
        return Interval(self.low, self.high) if self.is_known else None

    @property
    def low(self) -> float:
        return self.value - self._half_width

    @property
    def high(self) -> float:
        return self.value + self._half_width

    @property
    def detectable(self) -> float:
        """The smallest true effect that a study like this one detects with 80 % power (noncentral t distribution)."""
        if not self.is_known:
            return math.nan
        limit = self.critical_value
        # The t distribution that has this quantile.
        df = brentq(lambda df: float(quantile(df)) - limit, *DEGREES) if limit > quantile(DEGREES[1]) else DEGREES[1]
        shift = brentq(lambda shift: float(stats.nct.sf(limit, df, shift)) - POWER, 0.0, 2 * limit + 5)
        return float(shift) * self.standard_error

    @property
    def _half_width(self) -> float:
        return self.critical_value * self.standard_error


def quantile(degrees: float) -> float:
    """The two-sided quantile of the t distribution for `CONFIDENCE`."""
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees))


@dataclass(frozen=True, kw_only=True)
class Folds:
    """The validation fold of each of S runs, and the share of training photos `overlap` that two folds' runs share."""

    of_run: tuple[int | str, ...]
    overlap: float

    @property
    def factor(self) -> float:
        """By how much the variance of the mean over folds exceeds that of independent ones.

        Folds share photos, so their scores differ less than those of new training sets would. Where each photo adds its
        part to a score, two scores correlate by the overlap, and this is the delete-a-group jackknife (Shao and Wu,
        doi 10.1214/aos/1176347263).
        """
        return 1 + len(set(self.of_run)) * self.overlap / (1 - self.overlap)


def estimate_runs(
    values: Floats,
    labels: Ints,
    groups: Sequence[str],
    draws: Sequence[int] | None = None,
    folds: Folds | None = None,
) -> dict[str, Estimate]:
    """The mean accuracy and balanced accuracy over M models and S training runs of each, or their mean differences.

    `values` is `(M, S, N)`. For a score it holds 1 where a run is right on an image, else 0; for a difference 1 where
    only the treated run is right, -1 where only the other one is, else 0. Models are fixed; images (in groups) and
    training runs are drawn, and so are generators where `draws` names the one of each of the S runs, and training
    photos where `folds` does. With fewer than three runs, draws, or folds, their variation is not known, and neither is
    the standard error.
    """
    means, factor = _by_luck(values, draws, folds), folds.factor if folds else 1.0
    return {name: _estimate(means, strata, groups, factor) for name, strata in _strata(labels).items()}


def _by_luck(values: Floats, draws: Sequence[int] | None, folds: Folds | None) -> Floats:
    """Means over all runs of each draw, or of each fold, as `(1, D, N)`: runs that share one are not independent.

    Each fold has draws and runs of its own, so that their luck is part of its own.
    """
    if draws is None and folds is None:
        return values
    names = np.asarray(folds.of_run if folds else draws)
    return np.stack([values[:, names == name].mean(axis=(0, 1)) for name in np.unique(names)])[None]


def _estimate(values: Floats, strata: Ints, groups: Sequence[str], factor: float = 1.0) -> Estimate:
    """The estimate from runs `(M, S, N)`; the variance of their luck is multiplied by `factor`."""
    M, S, _ = values.shape
    scores = np.array([[_mean(run, strata) for run in of_model] for of_model in values])
    if S < MIN_RUNS:
        return Estimate(value=float(scores.mean()), standard_error=math.nan, critical_value=math.nan)

    # Variation between images, of the mean over runs; and between runs of one model, on these images.
    of_images = Variance(*image_variance(values.mean(axis=(0, 1)), strata, groups))
    of_runs = float(scores.var(axis=1, ddof=1).sum() / S / M**2)

    # What a run does on one image and not on another is part of both variances, and counts once.
    interaction = sum(_interaction(of_model, strata, groups) for of_model in values) / M**2
    lucky = Variance(factor * max(0.0, of_runs - interaction), M * (S - 1))
    return combine(float(scores.mean()), of_images, lucky)


def combine(value: float, of_images: Variance, of_runs: Variance) -> Estimate:
    """The estimate of `value` whose variance is the sum of two, each with the quantile of its own degrees of freedom.

    The luck of three draws, known with two degrees of freedom, does not borrow those of the images.
    """
    variance = of_images.value + of_runs.value
    parts = (of_images.value * quantile(of_images.degrees) ** 2, of_runs.value * quantile(of_runs.degrees) ** 2)
    critical = math.sqrt(sum(parts) / variance) if variance > 0 else quantile(of_images.degrees)
    return Estimate(value=value, standard_error=math.sqrt(variance), critical_value=critical)


def estimate_recall(
    correct: Floats, groups: Sequence[str], draws: Sequence[int] | None = None, folds: Folds | None = None
) -> Interval | None:
    """Jeffreys' interval of one class's recall, from `(S, N)` of its images only; None with fewer than three runs.

    It is that of a single run on as many independent images as give the same variance, at most one for each group.
    """
    runs, strata = _by_luck(correct[None], draws, folds), np.zeros(correct.shape[1], dtype=np.int64)
    estimate = _estimate(runs, strata, groups, folds.factor if folds else 1.0)
    if not estimate.is_known:
        return None
    share, num_groups = estimate.value, len(set(groups))
    num_images = min(num_groups, share * (1 - share) / estimate.standard_error**2) if 0 < share < 1 else num_groups
    low, high = proportion_confint(share * num_images, num_images, alpha=1 - CONFIDENCE, method="jeffreys")
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class ExactTest:
    """McNemar's test of two classifiers on the same images: where only one of them is right, and the p value."""

    num_gained: int
    num_lost: int
    p_value: float


def exact_test(gains: Floats) -> ExactTest:
    """McNemar's exact test of the gains `(N,)` of one run over another; it takes images for independent."""
    gained, lost = int((gains > 0).sum()), int((gains < 0).sum())
    return ExactTest(gained, lost, float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue))


def correct_for_many(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of the p values of several tests."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def _interaction(gains: Floats, strata: Ints, groups: Sequence[str]) -> float:
    """How much of the variance of one model's mean over S runs `(S, N)` is of runs and images together."""
    S, _ = gains.shape
    alone = float(np.mean([image_variance(gain, strata, groups)[0] for gain in gains]))
    together, _ = image_variance(gains.mean(axis=0), strata, groups)
    return float(max(0.0, (alone - together) / (S - 1)))


def image_variance(values: Floats, strata: Ints, groups: Sequence[str]) -> tuple[float, float]:
    """The variance of the mean over strata of each stratum's mean, by whole groups, and its degrees of freedom.

    With one stratum this is the mean; with a stratum per class, a balanced mean. NaN where all images of a stratum are
    of one group, which says nothing of how groups differ.
    """
    found = group_influence(values, strata, groups)
    if found.counts.min() < 2:
        return math.nan, math.nan
    seen = np.square(found.parts).sum(axis=1)
    own = found.own(seen)
    variance = np.square(found.parts.sum(axis=0)).sum() + (own - seen).sum()
    return float(variance), satterthwaite(own, found.effective)


@dataclass(frozen=True, kw_only=True)
class Influence:
    """How far each group moves the mean over strata, through each stratum: `parts` is `(K, G)` and linear in values.

    `counts` `(K,)` are the groups of each stratum, `effective` `(K,)` the groups of one size that would tell as much.
    """

    parts: Floats
    counts: Ints
    effective: Floats

    def own(self, seen: Floats) -> Floats:
        """The variance of each stratum `(K,)`; where all images of one agree, Jeffreys' stands in.

        With 0 of 6 right, the next image still need not be wrong.
        """
        K = len(self.counts)
        found: Floats = np.where(seen > ROUNDING, seen, stats.beta.var(0.5, self.counts + 0.5) / K**2)
        return found


def group_influence(values: Floats, strata: Ints, groups: Sequence[str]) -> Influence:
    """The influence of each group of images on the mean over strata of `values` `(N,)`; zero of the only group."""
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    names, stratum_of = np.unique(strata, return_inverse=True)
    counts = np.array([len(np.unique(group_of[stratum_of == k])) for k in range(len(names))])
    parts = np.zeros((len(names), group_of.max() + 1))
    effective = counts.astype(float)
    for k, num_groups in enumerate(counts):
        members = stratum_of == k
        effective[k] = members.sum() ** 2 / np.square(np.bincount(group_of[members])).sum()
        if num_groups > 1:
            parts[k] = _jackknife(values[members], group_of[members], num_groups, parts.shape[1]) / len(names)
    return Influence(parts=parts, counts=counts, effective=effective)


def satterthwaite(variances: Floats, effective: Floats) -> float:
    """The degrees of freedom of a sum of variances `(K,)`, each of so many groups of one size."""
    return float(variances.sum() ** 2 / (variances**2 / np.maximum(1.0, effective - 1)).sum())


def _jackknife(values: Floats, group_of: Ints, num_groups: int, size: int) -> Floats:
    """How far each group moves the mean `(size,)`: the mean with it minus that without it, scaled to give a variance.

    Without one group the mean follows the others, which corrects for residuals being small where groups are few.
    """
    sums = np.bincount(group_of, weights=values - values.mean(), minlength=size)
    counts = np.bincount(group_of, minlength=size)
    return sums / (len(values) - counts) * math.sqrt((num_groups - 1) / num_groups)


def _strata(labels: Ints) -> dict[str, Ints]:
    """What each test score averages over: its classes, or all images at once."""
    return {"test_balanced_accuracy": labels, "test_accuracy": np.zeros_like(labels)}


def _mean(values: Floats, strata: Ints) -> float:
    return float(np.mean([values[strata == k].mean() for k in np.unique(strata)]))
