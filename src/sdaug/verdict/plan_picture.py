"""A plan as a picture: the detectable effect against the cost of a study."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from sdaug.verdict.drawing import save, styles_of, tidy
from sdaug.verdict.plan import Planned

WIDTH_INCHES, HEIGHT_INCHES, DPI = 5.4, 3.6, 200


def draw_plan(path: Path, planned: Sequence[Planned], effect: float) -> None:
    """A point per design, filled as estimated and hollow for pessimists; `effect`, a fraction of 1, is a line."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    has_hours = all(one.hours is not None for one in planned)
    sizes = sorted({(sum(one.num_photos), one.design.num_folds) for one in planned})
    for (num_photos, num_folds), (colour, marker, _) in zip(sizes, styles_of(len(sizes)), strict=True):
        chosen = [one for one in planned if (sum(one.num_photos), one.design.num_folds) == (num_photos, num_folds)]
        costs = [one.hours if has_hours and one.hours is not None else one.num_trainings for one in chosen]
        folds = f", {num_folds} folds" if num_folds > 1 else ""
        effects = [100 * one.detectable for one in chosen]
        axes.plot(costs, effects, marker, color=colour, markersize=5, label=f"{num_photos} test photos{folds}")
        hollow = axes.plot(costs, [100 * one.pessimistic for one in chosen], marker, markersize=5)[0]
        hollow.set(color=colour, markerfacecolor="none")
    axes.plot([], [], "o", color="black", markerfacecolor="none", label="pessimistic")
    axes.axhline(100 * effect, color="black", linewidth=1, linestyle="--", label=f"{100 * effect:g} points")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.tick_params(labelsize=8)
    axes.set_xlabel("hours" if has_hours else "training runs, all arms, models and folds", fontsize=8)
    axes.set_ylabel("detectable effect, points", fontsize=8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    save(figure, path, dpi=DPI)
