"""A plan as tables for a terminal, as rows of a CSV file, and in sentences."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from sdaug.verdict.components import LIMIT, Pilot
from sdaug.verdict.number_formats import plural
from sdaug.verdict.plan import Planned, find_cheapest
from sdaug.verdict.statistics import POWER
from sdaug.verdict.table import Table

CHEAPEST, CHEAPEST_PESSIMISTIC = "cheapest", "cheapest for pessimists"


def components_table(pilot: Pilot, classes: Sequence[str], *, title: str) -> Table:
    """The standard deviation of each component in points, its upper limit, and what it is known with."""
    deviations = zip(classes, pilot.expected.photo_deviations, pilot.pessimistic.photo_deviations, strict=True)
    rows = [_row(f"one photo of {label}", own, high, pilot.photo_degrees) for label, own, high in deviations]
    together = pilot.expected.photo_run_deviation
    rows.append(_row("one photo in one run", together, together, math.nan))
    rows.append(
        _row(
            "one training run",
            math.sqrt(pilot.expected.run),
            math.sqrt(pilot.pessimistic.run),
            pilot.run_degrees,
        )
    )
    if pilot.expected.draw is not None and pilot.pessimistic.draw is not None:
        spread = math.sqrt(pilot.expected.draw), math.sqrt(pilot.pessimistic.draw)
        rows.append(_row("one draw of the generators", *spread, pilot.draw_degrees))
    return Table(
        title=title,
        note=f"Standard deviations of the difference in points; the upper limit is that of {LIMIT:.0%} confidence "
        "(chi-squared), and blank where a number was assumed or matters little. With few degrees of freedom the first "
        "column is little more than a guess: plan with the second.",
        header=("part", "SD, points", "upper limit", "degrees of freedom"),
        rows=tuple(rows),
        num_names=1,
    )


def designs_table(planned: Sequence[Planned], effect: float) -> Table:
    """A row per design, with a mark at the cheapest ones that detect `effect`, a fraction of 1."""
    has_hours = any(one.hours is not None for one in planned)
    marks = _marks(planned, effect)
    rows = [
        (
            *map(str, _size(one).values()),
            f"{100 * one.detectable:.1f}",
            f"{100 * one.pessimistic:.1f}",
            *([f"{one.hours:.1f}"] if one.hours is not None else []),
            mark,
        )
        for one, mark in zip(planned, marks, strict=True)
    ]
    return Table(
        title=f"The smallest effect, in points, that a study detects {POWER:.0%} of the time",
        note="Seeds are training runs of each model, arm and fold; runs are those of both arms, all models and folds. "
        f"The pessimistic effect is that of components at their {LIMIT:.0%} upper limits.",
        header=(
            *_size(planned[0]),
            "detectable",
            "pessimistic",
            *(["hours"] if has_hours else []),
            f"for {100 * effect:g} points",
        ),
        rows=tuple(rows),
        num_names=0,
    )


def describe_plan(planned: Sequence[Planned], effect: float, *, has_price: bool) -> list[str]:
    """Which designs reach the effect, and how to learn their cost, in sentences."""
    sentences = [_describe_cheapest(planned, effect, pessimistic=pessimistic) for pessimistic in (False, True)]
    if not has_price:
        sentences.append(
            "Costs are not known, so that the cheapest design has the fewest training runs, then draws, then photos: "
            "give --hours-per-run and --hours-per-draw (and --hours-per-photo) for hours."
        )
    return sentences


def plan_rows(planned: Sequence[Planned], classes: Sequence[str], effect: float) -> list[dict[str, Any]]:
    """A row per design for a CSV file; effects are fractions."""
    return [
        {
            **{f"test_{label}": count for label, count in zip(classes, one.num_photos, strict=True)},
            **{name.replace(" ", "_"): value for name, value in _size(one).items()},
            "detectable": round(one.detectable, 5),
            "pessimistic": round(one.pessimistic, 5),
            "hours": "" if one.hours is None else round(one.hours, 3),
            "mark": mark,
        }
        for one, mark in zip(planned, _marks(planned, effect), strict=True)
    ]


def _row(name: str, deviation: float, high: float, degrees: float) -> tuple[str, ...]:
    is_assumed = math.isnan(degrees)
    return (
        name,
        f"{100 * deviation:.1f}",
        "" if is_assumed else f"{100 * high:.1f}",
        ("" if is_assumed else f"{degrees:.0f}"),
    )


def _size(one: Planned) -> dict[str, int | str]:
    design = one.design
    return {
        "test photos": sum(one.num_photos),
        "draws": "" if design.num_draws is None else design.num_draws,
        "seeds": design.num_seeds,
        "folds": design.num_folds,
        "runs": one.num_trainings,
    }


def _marks(planned: Sequence[Planned], effect: float) -> Iterator[str]:
    found = {
        CHEAPEST: find_cheapest(planned, effect),
        CHEAPEST_PESSIMISTIC: find_cheapest(planned, effect, pessimistic=True),
    }
    for one in planned:
        yield ", ".join(mark for mark, best in found.items() if best is one)


def _describe_cheapest(planned: Sequence[Planned], effect: float, *, pessimistic: bool) -> str:
    subject = "With the upper limits of the components" if pessimistic else "With the components as estimated"
    best = find_cheapest(planned, effect, pessimistic=pessimistic)
    if best is None:
        smallest = min(one.pessimistic if pessimistic else one.detectable for one in planned)
        return (
            f"{subject}, no design here detects {100 * effect:g} points; the smallest effect is {100 * smallest:.1f}: "
            "try more --photos, --draws, --seeds or --folds."
        )
    size = ", ".join(
        plural(value, name.removesuffix("s")) for name, value in _size(best).items() if isinstance(value, int)
    )
    hours = "" if best.hours is None else f" and {best.hours:.1f} hours"
    return f"{subject}, {100 * effect:g} points are detected with {size}{hours}."
