"""The forest plot: all differences between arms in one picture, with their intervals and what the study could show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdaug.verdict.drawing import STYLES, save, tidy
from sdaug.verdict.number_formats import signed
from sdaug.verdict.results import PRIMARY, Contrast, Study
from sdaug.verdict.statistics import Estimate

# Narrow and dense, so that letters stay legible on a phone as wide as the page.
WIDTH_INCHES, DPI = 5.0, 200
ROW_INCHES = 0.19
MAX_ROWS = 60  # with more, a row per model would make the picture taller than anyone reads
MEAN, MODEL, BAND = STYLES[0][0], "#777777", "#e8e8e8"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the plot: the title of a contrast (no estimate), a model or the mean over models."""

    label: str
    estimate: Estimate | None
    is_mean: bool


def draw_forest(path: Path, study: Study) -> None:
    """Differences of balanced accuracy: a block per contrast with the mean over models first, then each model."""
    blocks = [_rows(contrast, study) for contrast in study.answers]
    if sum(map(len, blocks)) > MAX_ROWS:
        blocks = [[replace(mean, label=title.label)] for title, mean, *_ in blocks]
    num_rows = max(1, sum(map(len, blocks)))
    figure = Figure(figsize=(WIDTH_INCHES, 0.75 + ROW_INCHES * num_rows), layout="constrained")
    axes = figure.subplots()
    tidy(axes, grid_axis="x")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color="black", linewidth=1)
    top = 0
    for contrast, block in zip(study.answers, blocks, strict=True):
        _draw_band(axes, contrast.mean[PRIMARY], top, len(block))
        for y, row in enumerate(block, start=top):
            _draw_row(axes, row, y)
        top += len(block)
    _label_rows(axes, [row for block in blocks for row in block])
    axes.set_ylim(num_rows - 0.5, -0.5)
    axes.set_xlabel("balanced accuracy on the test set, points\n← the first arm is worse    it is better →", fontsize=8)
    save(figure, path, dpi=DPI)


def _rows(contrast: Contrast, study: Study) -> list[Row]:
    mean = Row(label=f"mean of {len(study.pooled)}", estimate=contrast.mean[PRIMARY], is_mean=True)
    models = [
        Row(label=model, estimate=difference.estimates[PRIMARY], is_mean=False)
        for model, difference in contrast.by_model.items()
    ]
    title = Row(label=f"{contrast.arm} − {contrast.against}", estimate=None, is_mean=False)
    return [title, mean, *models]


def _draw_band(axes: Axes, mean: Estimate, top: int, num_rows: int) -> None:
    """Shade the effects that are too small for this study, beside the rows of one contrast."""
    if mean.is_known:
        width = 200 * mean.detectable
        axes.barh(top + (num_rows - 1) / 2, width, num_rows - 0.3, left=-width / 2, color=BAND, zorder=0)


def _draw_row(axes: Axes, row: Row, y: int) -> None:
    if row.estimate is None:
        return
    colour, marker, size = (MEAN, "D", 6.0) if row.is_mean else (MODEL, "o", 4.0)
    value = 100 * row.estimate.value
    if row.estimate.is_known:
        axes.hlines(y, 100 * row.estimate.low, 100 * row.estimate.high, color=colour, linewidth=2 if row.is_mean else 1)
    # Hollow where nothing is known of its luck.
    axes.plot([value], [y], marker, color=colour, mfc=colour if row.estimate.is_known else "white", markersize=size)
    axes.text(
        1.02, y, signed(row.estimate), transform=axes.get_yaxis_transform(), va="center", fontsize=7.5,
        fontweight="bold" if row.is_mean else "normal",
    )  # fmt: skip


def _label_rows(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row.estimate is None or row.is_mean:
            tick.set_fontweight("bold")
