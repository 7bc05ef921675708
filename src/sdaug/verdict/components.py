"""The variance components of a difference in balanced accuracy, from a study that is a pilot, or as assumed.

They are those of docs/statistics.md, parted by analysis of variance: photos (by class), training runs given draws,
draws of generators, and what photos do together with each. All are of the difference between two arms, as fractions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from sdaug.verdict.statistics import MIN_RUNS, Floats, Ints, group_influence, satterthwaite

LIMIT = 0.80  # confidence that a component is below its upper limit


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variances of a difference in balanced accuracy.

    `photos` `(K, K)` are the covariances of the classes' parts of the mean over all possible runs, for the pilot's test
    photos; `with_run` and `with_draw` what one run, or one draw, does on them alone. `run` is the variance of one
    training run on all possible photos, given its draw; `draw` that of one draw of the generators, None for an arm that
    uses none. `num_photos` and `num_groups` `(K,)` count the pilot's photos, and their groups as if of one size.
    """

    num_photos: tuple[int, ...]
    num_groups: tuple[float, ...]
    num_models: int
    photos: Floats
    with_run: Floats
    with_draw: Floats
    run: float
    draw: float | None

    @property
    def photo_deviations(self) -> Floats:
        """The standard deviation of each class's photos `(K,)`, as if each were a group."""
        K = len(self.num_photos)
        found: Floats = K * np.sqrt(np.diag(self.photos) * self.num_photos)
        return found

    @property
    def photo_run_deviation(self) -> float:
        """The standard deviation of one photo in one run, given the photo: the root of the mean square over classes."""
        return len(self.num_photos) * math.sqrt(np.mean(np.diag(self.with_run) * self.num_photos))


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Components as estimated, and at their upper limits; degrees of freedom NaN where they are assumed."""

    expected: Components
    pessimistic: Components
    photo_degrees: float
    run_degrees: float
    draw_degrees: float


@dataclass(frozen=True, kw_only=True)
class _Luck:
    """The variance of the scores of runs, or of draws, and the part of it `(K, K)` that they have with photos."""

    total: float
    both: Floats
    degrees: int

    @property
    def is_known(self) -> bool:
        return not math.isnan(self.total)

    def own(self, *, less: float = 0.0, pessimistic: bool = False) -> float:
        """The variance on all possible photos, or its upper limit; `less` is what stands in it of something else."""
        total = self.total * (upper_factor(self.degrees) if pessimistic and self.is_known else 1.0)
        return float(np.maximum(0.0, total - self.both.sum() - less))  # NaN stays


def measure_pilot(gains: Floats, labels: Ints, groups: Sequence[str], draws: Sequence[int] | None) -> Pilot:
    """The components of a study's gains `(M, S, N)`; `draws` names that of each of the S runs, if it has any.

    What cannot be told is NaN: the luck of fewer than three runs, or draws, and photos of classes with a single group.
    """
    M, S, N = gains.shape
    rows = gains.reshape(M * S, N)
    influences = [group_influence(row, labels, groups) for row in rows]
    parts, first = np.stack([one.parts for one in influences]), influences[0]  # (MS, K, G)
    scores = np.array([_mean_of_classes(row, labels) for row in rows])

    # Runs: what is left when models and draws are taken out.
    draw_of = np.zeros(S, dtype=np.int64) if draws is None else np.unique(draws, return_inverse=True)[1]
    residual, degrees = _residual_maker(M, draw_of)
    runs = _luck(residual @ scores, np.tensordot(residual, parts, 1), degrees, is_known=S >= MIN_RUNS and degrees > 0)

    # Draws: the means over the runs of each, in which some luck of runs is left.
    D = int(draw_of.max()) + 1
    mean_of = np.stack([np.tile(draw_of == d, M) / (M * np.sum(draw_of == d)) for d in range(D)])  # (D, MS)
    left = float(np.square(mean_of).sum(axis=1).mean())
    centred = mean_of - mean_of.mean(axis=0)
    drawn = _luck(centred @ scores, np.tensordot(centred, parts, 1), D - 1, is_known=D >= MIN_RUNS)

    # Photos: the mean over all runs, without what runs and draws do on them.
    photos = _covariances(np.tensordot(mean_of.mean(axis=0), parts, 1)[None])
    own = first.own(np.diag(photos).copy())
    photos[np.diag_indices_from(photos)] = own
    with_draw = np.zeros_like(photos) if draws is None else drawn.both - left * runs.both
    is_known = first.counts.min() > 1
    photo_degrees = satterthwaite(own, first.effective) if is_known else math.nan

    def components(*, pessimistic: bool) -> Components:
        of_photos = _valid(photos - (with_draw + left * runs.both) / D)
        factor = (upper_factor(photo_degrees) if pessimistic else 1.0) if is_known else math.nan
        return Components(
            num_photos=tuple(int(count) for count in np.unique(labels, return_counts=True)[1]),
            num_groups=tuple(map(float, first.effective)),
            num_models=M,
            photos=factor * of_photos,
            with_run=runs.both,
            with_draw=_valid(with_draw),
            run=runs.own(pessimistic=pessimistic),
            draw=None if draws is None else drawn.own(less=left * np.nan_to_num(runs.own()), pessimistic=pessimistic),
        )

    return Pilot(
        expected=components(pessimistic=False),
        pessimistic=components(pessimistic=True),
        photo_degrees=photo_degrees,
        run_degrees=runs.degrees if runs.is_known else math.nan,
        draw_degrees=drawn.degrees if drawn.is_known and draws is not None else math.nan,
    )


def _luck(scores: Floats, parts: Floats, degrees: int, *, is_known: bool) -> _Luck:
    """The luck of centred `scores` `(R,)`, and that of their `parts` `(R, K, G)` by groups of photos."""
    total = float(np.square(scores).sum() / degrees) if is_known else math.nan
    return _Luck(total=total, both=_covariances(parts) / max(degrees, 1), degrees=degrees)


def assume(
    num_photos: Sequence[int], *, num_models: int, photo: float, photo_run: float, run: float, draw: float | None
) -> Pilot:
    """Components of assumed standard deviations, with single photos for groups; nothing is added for pessimists."""
    K = len(num_photos)

    def of_photos(deviation: float) -> Floats:
        return np.diag([deviation**2 / count / K**2 for count in num_photos])

    components = Components(
        num_photos=tuple(num_photos),
        num_groups=tuple(map(float, num_photos)),
        num_models=num_models,
        photos=of_photos(photo),
        with_run=of_photos(photo_run),
        with_draw=np.zeros((K, K)),
        run=run**2,
        draw=None if draw is None else draw**2,
    )
    known = math.nan
    return Pilot(
        expected=components, pessimistic=components, photo_degrees=known, run_degrees=known, draw_degrees=known
    )


def resize(pilot: Pilot, num_photos: Sequence[int]) -> Pilot:
    """The pilot with so many test photos of each class, in groups as large as its own."""

    def resized(components: Components) -> Components:
        ratios = np.array(num_photos) / components.num_photos
        scale = np.sqrt(np.outer(ratios, ratios))  # classes that share groups go on doing so
        return replace(
            components,
            num_photos=tuple(num_photos),
            num_groups=tuple(map(float, components.num_groups * ratios)),
            photos=components.photos / scale,
            with_run=components.with_run / scale,
            with_draw=components.with_draw / scale,
        )

    return replace(pilot, expected=resized(pilot.expected), pessimistic=resized(pilot.pessimistic))


def override(pilot: Pilot, *, run: float | None = None, draw: float | None = None) -> Pilot:
    """The pilot with assumed standard deviations of runs or draws in place of its own."""

    def changed(components: Components) -> Components:
        run_variance = components.run if run is None else run**2
        return replace(components, run=run_variance, draw=components.draw if draw is None else draw**2)

    return replace(
        pilot,
        expected=changed(pilot.expected),
        pessimistic=changed(pilot.pessimistic),
        run_degrees=pilot.run_degrees if run is None else math.nan,
        draw_degrees=pilot.draw_degrees if draw is None else math.nan,
    )


def upper_factor(degrees: float) -> float:
    """By how much a variance, known with so many degrees of freedom, is multiplied for its 80 % upper limit."""
    return float(degrees / stats.chi2.ppf(1 - LIMIT, degrees))


def _residual_maker(num_models: int, draw_of: Ints) -> tuple[Floats, int]:
    """The matrix `(MS, MS)` that takes the means of models and draws out of runs, and its degrees of freedom."""
    S = len(draw_of)
    models = np.kron(np.eye(num_models), np.ones((S, 1)))
    draws = np.tile(np.eye(draw_of.max() + 1)[draw_of], (num_models, 1))
    effects = np.hstack([models, draws])
    residual = np.eye(num_models * S) - effects @ np.linalg.pinv(effects)
    return residual, round(float(np.trace(residual)))


def _covariances(parts: Floats) -> Floats:
    """`(K, K)`: how the classes' parts `(R, K, G)` vary together, summed over rows."""
    found: Floats = np.einsum("rkg,rlg->kl", parts, parts)
    return found


def _valid(covariances: Floats) -> Floats:
    """The nearest covariances that can be: none below zero."""
    values, vectors = np.linalg.eigh(covariances)
    found: Floats = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return found


def _mean_of_classes(values: Floats, labels: Ints) -> float:
    return float(np.mean([values[labels == k].mean() for k in np.unique(labels)]))
