"""The exchange rate: how many true photos one generated image is worth, where a study has arms with more of either.

Gains are those over the baseline, paired on the same test photos, training seeds and draws. With one arm of true photos
the rate is the ratio of the gains per image, to first order; its interval is Fieller's (J. R. Stat. Soc. B 16, 1954),
whose set of ratios may have no end. With several, it is the dose of true photos that scores as much.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from sdaug.verdict.results import BASELINE, PRIMARY, Luck, Study, pair_runs
from sdaug.verdict.statistics import CONFIDENCE, Estimate, Floats, Interval, estimate_runs

SYNTHETIC, ORACLE = "synthetic", "oracle"  # keys of `images`: multiples of what each class lacks
USUAL_DOSE = 1.0
GRID = 51  # doses of true photos that are tried


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """True photos that one image of `arm` is worth.

    `rate` is NaN where the true photos `against` which it is measured gained nothing. An end of `interval` is infinite
    where there is none; the whole is None where the luck of runs or draws is not known. `further` are the rates of
    other doses. `is_linear` says that the gain of true photos was taken for proportional to their number.
    """

    arm: str
    against: tuple[str, ...]
    rate: float
    interval: Interval | None
    further: Mapping[float, float]
    is_linear: bool

    @property
    def sentence(self) -> str:
        """The rate with its interval and what it assumes."""
        names = ", ".join(self.against)
        if math.isnan(self.rate):
            return (
                f"What one generated image is worth in true photos cannot be told: more true photos ({names}) did not "
                f"raise balanced accuracy above that of {BASELINE}."
            )
        head = f"One generated image is worth {_number(self.rate)} true photos ({self._describe_interval()})"
        basis = (
            f"It is the gain of {self.arm} over {BASELINE} for each generated image, divided by that of {names} for "
            "each true photo. Take it as a rough guide: it reckons as if gains grew in proportion to numbers of images"
            if self.is_linear
            else f"With that many true photos instead, a model would score as much as {self.arm}, read off between the "
            f"scores of {names}"
        )
        return f"{head}. {basis}.{self._describe_further()}"

    def _describe_interval(self) -> str:
        if self.interval is None:
            return "no interval, with so few runs or draws"
        low, high = self.interval
        if math.isinf(low):
            return f"{CONFIDENCE:.0%} interval without end, as the gain of true photos is not clearly above zero"
        if math.isinf(high):
            return f"{CONFIDENCE:.0%} interval from {_number(low)} on, without an upper end"
        return f"{CONFIDENCE:.0%} interval {_number(low)} to {_number(high)}"

    def _describe_further(self) -> str:
        if not self.further:
            return ""
        rates = ", ".join(f"{_number(rate)} at a dose of {dose:g}" for dose, rate in self.further.items())
        return f" In arms with other numbers of generated images, one is worth {rates}."


def find_exchange(study: Study, arms: Mapping[str, Mapping[str, Any]]) -> Exchange | None:
    """The exchange rate of a study; None if it has no arm with generated images or none with more true photos.

    `arms` is the section `datasets` of params.yaml. Arms that differ from the baseline in anything else do not count.
    """
    known = {name: arm for name, arm in arms.items() if name in study.datasets}
    generated, true = (_find_doses(known, key) for key in (SYNTHETIC, ORACLE))
    if not (generated and true):
        return None

    def gains_of(arm: str) -> Floats:
        return pair_runs(study.results, study.pooled, arm, BASELINE).gains

    ladder = _Ladder(
        doses=(0.0, *true),
        gains=np.stack([np.zeros_like(gains_of(next(iter(true.values())))), *map(gains_of, true.values())]),
        study=study,
        luck=pair_runs(study.results, study.pooled, next(iter(generated.values())), BASELINE).luck,
    )
    usual = min(generated, key=lambda dose: abs(dose - USUAL_DOSE))
    rates = {dose: ladder.rate(gains_of(arm), dose) for dose, arm in generated.items()}
    return Exchange(
        arm=generated[usual],
        against=tuple(true.values()),
        rate=rates[usual],
        interval=ladder.interval(gains_of(generated[usual]), usual),
        further={dose: rate for dose, rate in rates.items() if dose != usual and not math.isnan(rate)},
        is_linear=ladder.is_linear,
    )


def fieller(numerator: float, denominator: float, margins: Floats) -> Interval:
    """All ratios r for which `numerator` - r `denominator` is within its margin of zero; (-inf, inf) without an end.

    `margins` `(2, 2)` is the covariance matrix of the two times the square of the quantile.
    """
    curvature = denominator**2 - margins[1, 1]
    if curvature <= 0:  # the denominator may be zero: the set has no end, or leaves out a stretch
        return Interval(-math.inf, math.inf)
    middle = numerator * denominator - margins[0, 1]
    root = math.sqrt(max(0.0, middle**2 - curvature * (numerator**2 - margins[0, 0])))
    return Interval((middle - root) / curvature, (middle + root) / curvature)


@dataclass(frozen=True, kw_only=True)
class _Ladder:
    """Doses of true photos, none first, and the gains `(doses, M, S, N)` of each over the baseline."""

    doses: tuple[float, ...]
    gains: Floats
    study: Study
    luck: Luck

    @property
    def is_linear(self) -> bool:
        return len(self.doses) == 2

    def rate(self, gains: Floats, dose: float) -> float:
        """True photos for each image of an arm with these gains; at most those of the largest dose."""
        scores = np.array([self._estimate(one).value for one in self.gains])
        if scores[-1] <= 0:
            return math.nan
        value = self._estimate(gains).value
        if self.is_linear:
            return float(value / scores[-1] * self.doses[-1] / dose)
        rising = IsotonicRegression().fit_transform(self.doses, scores)
        kept = [0, *(n for n in range(1, len(rising)) if rising[n] > rising[n - 1])]  # the first dose of each level
        return float(np.interp(value, rising[kept], np.array(self.doses)[kept]) / dose)

    def interval(self, gains: Floats, dose: float) -> Interval | None:
        """The rates that the runs do not rule out; None if their luck is not known."""
        value, last = self._estimate(gains), self._estimate(self.gains[-1])
        if not (value.is_known and last.is_known):
            return None
        if self.is_linear:
            sides = [_squared_margin(self._estimate(gains + sign * self.gains[-1])) for sign in (1, -1)]
            shared = (sides[0] - sides[1]) / 4
            margins = np.array([[_squared_margin(value), shared], [shared, _squared_margin(last)]])
            scale = self.doses[-1] / dose
            return Interval(*(end * scale for end in fieller(value.value, last.value, margins)))
        tried = np.linspace(0.0, self.doses[-1], GRID)
        left = [float(at) for at in tried if self._may_equal(gains, at)]
        if not left:  # above, or below, all of them
            return Interval(self.doses[-1] / dose, math.inf) if value.value > 0 else Interval(0.0, 0.0)
        return Interval(left[0] / dose, left[-1] / dose if left[-1] < tried[-1] else math.inf)

    def _may_equal(self, gains: Floats, at: float) -> bool:
        """Whether so many true photos may score as much."""
        n = min(int(np.searchsorted(self.doses, at, side="right")), len(self.doses) - 1)
        share = (at - self.doses[n - 1]) / (self.doses[n] - self.doses[n - 1])
        found = self._estimate(gains - (1 - share) * self.gains[n - 1] - share * self.gains[n])
        return found.low <= 0 <= found.high

    def _estimate(self, gains: Floats) -> Estimate:
        return estimate_runs(gains, self.study.test.labels, self.study.test.groups, *self.luck)[PRIMARY]


def _find_doses(arms: Mapping[str, Mapping[str, Any]], key: str) -> dict[float, str]:
    """The arms that differ from the baseline in nothing but so many images of one kind, by that dose."""
    plain = arms.get(BASELINE)
    if plain is None:
        return {}

    def rest(arm: Mapping[str, Any]) -> tuple[Any, Any]:
        ours = {name: value for name, value in arm["images"].items() if name not in (SYNTHETIC, ORACLE)}
        return ours, arm["training"]

    other = ORACLE if key == SYNTHETIC else SYNTHETIC
    found = {
        float(arm["images"][key]): name
        for name, arm in arms.items()
        if arm["images"][key] and not arm["images"][other] and rest(arm) == rest(plain)
    }
    return dict(sorted(found.items()))


def _squared_margin(estimate: Estimate) -> float:
    return (estimate.critical_value * estimate.standard_error) ** 2


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
