"""Planning a study: the effect that a study of another size would detect, and what it would cost.

It takes the components of a pilot and the interval of the verdict; docs/planning.md says what a plan assumes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from sdaug.verdict.components import Components, Pilot
from sdaug.verdict.statistics import ROUNDING, Estimate, Variance, combine, satterthwaite


@dataclass(frozen=True, kw_only=True)
class Design:
    """The size of a study: test photos of each class as a multiple of the pilot's, draws, seeds and folds.

    `num_seeds` are the training runs of each model on each arm, in each fold; they take turns with the draws.
    """

    multiple: float = 1.0
    num_draws: int | None
    num_seeds: int
    num_folds: int = 1


@dataclass(frozen=True, kw_only=True)
class Price:
    """Hours of each part of a study; None where not known."""

    per_draw: float | None = None
    per_run: float | None = None
    per_photo: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A design, its test photos of each class, the effects that it detects with 80 % power, and its hours if known."""

    design: Design
    num_photos: tuple[int, ...]
    detectable: float
    pessimistic: float
    hours: float | None
    num_trainings: int  # of both arms, all models and folds


def foresee(components: Components, design: Design) -> Estimate:
    """The estimate of no effect that a study of this design would make, on average."""
    M, F, scale = components.num_models, design.num_folds, design.multiple * design.num_folds
    # As in the verdict: runs that share a draw are averaged first.
    D = design.num_draws if components.draw is not None else design.num_seeds
    assert D is not None
    turns = np.bincount(np.arange(design.num_seeds) % D, minlength=D)
    per_draw = float(np.mean(1 / (M * turns)))
    photos = (components.photos + components.with_draw / D + components.with_run * per_draw / D) / scale
    own = np.maximum(np.diag(photos), ROUNDING)
    lucky = (components.run * per_draw + (components.draw or 0.0)) / D / F
    degrees = F * (D - 1) if components.draw is not None else F * M * (D - 1)
    of_photos = Variance(float(photos.sum()), satterthwaite(own, np.array(components.num_groups) * scale))
    return combine(0.0, of_photos, Variance(lucky, degrees))


def plan_designs(pilot: Pilot, designs: Sequence[Design], price: Price) -> list[Planned]:
    """What each design would detect, and cost."""
    return [_plan(pilot, design, price) for design in designs]


def list_designs(
    *, multiples: Sequence[float], draws: Sequence[int] | None, seeds: Sequence[int], folds: Sequence[int]
) -> list[Design]:
    """All combinations in which every draw has a training run; without `draws`, those of an arm that uses none."""

    def combinations() -> Iterator[Design]:
        for multiple, num_folds, num_draws, num_seeds in product(multiples, folds, draws or (None,), seeds):
            if num_draws is None or num_seeds >= num_draws:
                yield Design(multiple=multiple, num_draws=num_draws, num_seeds=num_seeds, num_folds=num_folds)

    return list(combinations())


def find_cheapest(planned: Sequence[Planned], effect: float, *, pessimistic: bool = False) -> Planned | None:
    """The design that costs least among those that detect the effect: in hours, or else in runs, draws, then photos."""
    found = [one for one in planned if (one.pessimistic if pessimistic else one.detectable) <= effect]
    return min(found, key=_cost, default=None)


def _cost(one: Planned) -> tuple[float, int, int, int]:
    return one.hours or 0.0, one.num_trainings, (one.design.num_draws or 0) * one.design.num_folds, sum(one.num_photos)


def _plan(pilot: Pilot, design: Design, price: Price) -> Planned:
    F, scale = design.num_folds, design.multiple * design.num_folds
    num_photos = tuple(round(count * scale) for count in pilot.expected.num_photos)
    num_trainings = 2 * F * pilot.expected.num_models * design.num_seeds
    hours = None
    if price.per_run is not None and (price.per_draw is not None or design.num_draws is None):
        further = max(0, sum(num_photos) - sum(pilot.expected.num_photos))
        hours = num_trainings * price.per_run + F * (design.num_draws or 0) * (price.per_draw or 0.0)
        hours += further * price.per_photo
    return Planned(
        design=design,
        num_photos=num_photos,
        detectable=foresee(pilot.expected, design).detectable,
        pessimistic=foresee(pilot.pessimistic, design).detectable,
        hours=hours,
        num_trainings=num_trainings,
    )
