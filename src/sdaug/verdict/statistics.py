"""Confidence intervals of scores and of score differences, over test images and training runs.

Test images and training runs are crossed random effects: every run is tested on the same images. Variances come from
the influence of each group of images (cluster-robust, Cameron and Miller, doi 10.3368/jhr.50.2.317) and of each run;
degrees of freedom are Satterthwaite's. `benchmarks/verdict.py` measures what the intervals cover.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIDENCE, POWER = 0.95, 0.80
ROUNDING = 1.0e-15  # what is left of a variance of equal values; one run that differs on one image gives 1e-9
MIN_RUNS = 3  # training runs per model: with fewer, their variation is a guess (two draws cover 89 % instead of 95 %)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score or difference, its standard error and degrees of freedom; both are NaN where they are not known."""

    value: float
    standard_error: float
    degrees_of_freedom: float

    @property
    def is_known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.standard_error)

    @property
    def low(self) -> float:
        return self.value - self._half_width

    @property
    def high(self) -> float:
        return self.value + self._half_width

    @property
    def detectable(self) -> float:
        """The smallest true effect that a study like this one detects with 80 % power."""
        quantiles = stats.t.ppf([0.5 + CONFIDENCE / 2, POWER], self.degrees_of_freedom)
        return float(quantiles.sum() * self.standard_error)

    @property
    def _half_width(self) -> float:
        return float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.degrees_of_freedom) * self.standard_error)


def estimate_score(correct: Floats, labels: Ints, groups: Sequence[str]) -> dict[str, Estimate]:
    """Accuracy and balanced accuracy of given models, from the share that is right on each image `(N,)`.

    The intervals cover the choice of test images alone.
    """
    found = {}
    for name, strata in _strata(labels).items():
        variance, degrees = image_variance(correct, strata, groups)
        found[name] = Estimate(
            value=_mean(correct, strata), standard_error=math.sqrt(variance), degrees_of_freedom=degrees
        )
    return found


def compare_runs(gains: Floats, labels: Ints, groups: Sequence[str]) -> dict[str, Estimate]:
    """The mean difference in accuracy and in balanced accuracy over M models and S pairs of training runs each.

    `gains` is `(M, S, N)`: 1 where only the treated run is right on an image, -1 where only the other one is, else 0.
    Models are fixed; images (in groups) and training runs are drawn. With fewer than three runs per model the
    variation between runs is not known, and neither is the standard error.
    """
    return {name: _compare(gains, strata, groups) for name, strata in _strata(labels).items()}


def _compare(gains: Floats, strata: Ints, groups: Sequence[str]) -> Estimate:
    M, S, _ = gains.shape
    scores = np.array([[_mean(gain, strata) for gain in of_model] for of_model in gains])
    if S < MIN_RUNS:
        return Estimate(value=float(scores.mean()), standard_error=math.nan, degrees_of_freedom=math.nan)

    # Variation between images, of the mean over runs; and between runs of one model, on these images.
    of_images, image_degrees = image_variance(gains.mean(axis=(0, 1)), strata, groups)
    of_runs = float(scores.var(axis=1, ddof=1).sum() / S / M**2)
    run_degrees = M * (S - 1)

    # What a run does on one image and not on another is part of both variances, and counts once.
    interaction = sum(_interaction(of_model, strata, groups) for of_model in gains) / M**2
    of_runs = max(0.0, of_runs - interaction)

    # Satterthwaite's degrees of freedom of the sum.
    variance = of_images + of_runs
    spread = of_images**2 / image_degrees + of_runs**2 / run_degrees
    degrees = variance**2 / spread if spread > 0 else math.inf
    return Estimate(value=float(scores.mean()), standard_error=math.sqrt(variance), degrees_of_freedom=degrees)


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
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    names, stratum_of = np.unique(strata, return_inverse=True)
    counts = np.array([len(np.unique(group_of[stratum_of == k])) for k in range(len(names))])  # groups of each stratum
    if counts.min() < 2:
        return math.nan, math.nan
    influence = np.zeros((len(names), group_of.max() + 1))
    for k, num_groups in enumerate(counts):
        members = stratum_of == k
        # Residuals shrink with few groups, as the mean follows them: n / (n - 1), the usual correction.
        correction = math.sqrt(num_groups / (num_groups - 1))
        residuals = (values[members] - values[members].mean()) / members.sum() / len(names) * correction
        np.add.at(influence[k], group_of[members], residuals)
    seen = np.square(influence).sum(axis=1)
    # Where all images of a class agree (0 of 6 right), the next one still need not: Jeffreys' variance stands in.
    own = np.where(seen > ROUNDING, seen, stats.beta.var(0.5, counts + 0.5) / len(names) ** 2)
    variance = np.square(influence.sum(axis=0)).sum() + (own - seen).sum()
    degrees = own.sum() ** 2 / (own**2 / (counts - 1)).sum()
    return float(variance), float(degrees)


def _strata(labels: Ints) -> dict[str, Ints]:
    """What each test score averages over: its classes, or all images at once."""
    return {"test_balanced_accuracy": labels, "test_accuracy": np.zeros_like(labels)}


def _mean(values: Floats, strata: Ints) -> float:
    return float(np.mean([values[strata == k].mean() for k in np.unique(strata)]))
