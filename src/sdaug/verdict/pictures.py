"""The pictures of the report; the same results always give the same bytes."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdaug.common import images
from sdaug.verdict import dose, steps
from sdaug.verdict.drawing import STYLES, add_legend, in_legend, label_rotation, save, styles_of, tidy, width_of
from sdaug.verdict.fonts import families_for, has_default_font, pillow_font
from sdaug.verdict.forest import draw_forest
from sdaug.verdict.results import Study
from sdaug.verdict.thumbnails import pick_images

WIDTH_INCHES = 9.6  # 960 pixels
TILE_PIXELS = 56
TILE_COLUMNS = 10
LABEL_SIZE, LABEL_WIDTH = 10, 22  # of letters, in pixels; of a line, in narrow letters

OF_CLASSES = ("class_counts.png", "images.png", "confusion.png", steps.FILE)  # pictures that name classes

CAPTIONS = {
    "forest.png": "Differences between arms in balanced accuracy on the test set, paired on the same photos: the mean "
    "over the models on which the verdict rests (diamond), and each model, with 95 % confidence intervals. A hollow "
    "marker has none. Grey: effects too small for this study to detect. With many arms only the means are shown.",
    "comparison.png": "Test scores with 95 % confidence intervals (filled) and validation scores (hollow).",
    steps.FILE: steps.CAPTION,
    "class_counts.png": "Training images per class before and after augmentation.",
    "images.png": "Random training photos and generated images of each class.",
    "curves.png": "Validation accuracy per epoch; a hollow marker shows the epoch that was kept.",
    "confusion.png": "Confusion matrices on the test photos: true class against predicted class.",
}

MAX_LEGEND = len(STYLES)  # with more arms, the comparison labels each row instead
# Of confusion matrices: with more classes no cell has a number, and only some classes are named; with more panels,
# whose time grows with models times arms, those of all models are one. A picture has at most 65,535 rows of pixels.
MAX_NUMBERED, MAX_NAMED, MAX_PANELS = 12, 14, 120


def captions(doses: Mapping[float, str], undrawn: Mapping[str, str]) -> dict[str, str]:
    """The caption of each picture by its file name; `doses` are the arms by their dose, if they make a curve.

    `undrawn` has the names, by the ids of their classes, whose letters no font has.
    """
    found = {**CAPTIONS, dose.FILE: dose.CAPTION} if doses else dict(CAPTIONS)
    if undrawn:
        said = ", ".join(f"{label} is {name}" for label, name in undrawn.items())
        note = f"{said}: no font had these letters; install one and run `dvc repro -f report` to see the names here."
        found |= {file: f"{found[file]} {note}" for file in OF_CLASSES}
    return found


def draw_all(
    out_dir: Path,
    study: Study,
    *,
    photos: Mapping[str, Sequence[Path]],
    generated: Mapping[str, Sequence[Path]],
    examples: Mapping[str, Sequence[steps.Example]],
    doses: Mapping[float, str],
) -> None:
    """Write every picture that has a caption, and dose.png if there are `doses`, the arms by their dose.

    `photos` and `generated` are the training images of each class, `examples` those of each step to an image.
    """
    num_photos = {label: len(paths) for label, paths in photos.items()}
    # Names are names: a pair of dollar signs is no formula.
    with matplotlib.rc_context({"text.parse_math": False, "font.family": families_for(study.classes)}):
        draw_forest(out_dir / "forest.png", study)
        draw_comparison(out_dir / "comparison.png", study)
        draw_class_counts(
            out_dir / "class_counts.png",
            photos=num_photos,
            generated={label: len(paths) for label, paths in generated.items()},
        )
        draw_images(out_dir / "images.png", photos=photos, generated=generated)
        steps.draw_steps(out_dir / steps.FILE, examples, num_photos=num_photos)
        draw_curves(out_dir / "curves.png", study)
        draw_confusion(out_dir / "confusion.png", study)
        if doses:
            dose.draw_dose(out_dir / dose.FILE, study, doses)


def draw_class_counts(path: Path, *, photos: Mapping[str, int], generated: Mapping[str, int]) -> None:
    """Bar charts of the training images per class: photos alone, and with generated images stacked on top."""
    figure = Figure(figsize=(WIDTH_INCHES, 3.6), layout="constrained")
    before, after = figure.subplots(1, 2, sharey=True)
    labels, real = list(photos), np.array(list(photos.values()))
    added = np.array([generated.get(label, 0) for label in labels])
    bars = ((before, np.zeros_like(added), "Before: photos only"), (after, added, "After: with generated images"))
    for axes, extra, title in bars:
        axes.bar(labels, real, color=STYLES[0][0], label="photos")
        if extra.any():
            axes.bar(labels, extra, bottom=real, color=STYLES[1][0], hatch="//", edgecolor="white", label="generated")
        for k, total in enumerate(real + extra):
            axes.annotate(str(total), (k, total), (0, 3), textcoords="offset points", ha="center")
        axes.set_title(title)
        tidy(axes)
        axes.tick_params(axis="x", rotation=label_rotation(labels))
    before.set_ylabel("training images")
    # Room for the number above the highest bar.
    before.set_ylim(0, 1.12 * max(1, int((real + added).max())))
    add_legend(figure, after)
    save(figure, path)


def draw_images(path: Path, *, photos: Mapping[str, Sequence[Path]], generated: Mapping[str, Sequence[Path]]) -> None:
    """A row of random training photos and one of random generated images for each class."""
    rows = []
    for label in photos:
        for kind, paths in (("photos", photos[label]), ("generated", generated.get(label, []))):
            if paths:
                chosen = pick_images(paths, label, kind, count=TILE_COLUMNS)
                rows.append((f"{label} {kind}", [images.read_png(path) for path in chosen]))
    columns = max(len(tiles) for _, tiles in rows)
    # The grid knows the default font only.
    plain = [(title if has_default_font(title) else "", tiles) for title, tiles in rows]
    sheet = images.grid(plain, tile_pixels=TILE_PIXELS, columns=columns)
    _write_others(sheet, [title if not has_default_font(title) else "" for title, _ in rows])
    sheet.save(path, format="PNG", optimize=True)


def _write_others(sheet: Image.Image, titles: Sequence[str]) -> None:
    """Write the titles of rows that are not empty, each in a font that has its letters."""
    draw = ImageDraw.Draw(sheet)
    for row, title in enumerate(titles):
        letters = LABEL_WIDTH * len(title) // max(1, width_of(title))
        lines = textwrap.wrap(title, letters) if title else []
        middle = row * sheet.height // len(titles) + TILE_PIXELS // 2
        place = (4, middle - 6 * len(lines))
        draw.text(place, "\n".join(lines), fill="black", font=pillow_font(title, LABEL_SIZE))


def draw_curves(path: Path, study: Study) -> None:
    """Validation accuracy per epoch: one panel per model, one line per run, a hollow marker at the kept epoch."""
    columns = min(3, len(study.models))
    figure, panels = _panels(
        len(study.models), columns=columns, panel_inches=(WIDTH_INCHES / columns, 2.6), share_axes=True
    )
    for axes, model in zip(panels, study.models, strict=True):
        for dataset, (colour, marker, dash) in _styles(study):
            for run in study.results[model, dataset].runs:
                if not len(run.epochs):
                    continue  # trained as another arm, whose curve this is
                # One entry per arm in the legend, however many seeds there are.
                label = in_legend(dataset) if run.seed == study.seeds[model][0] else None
                axes.plot(run.epochs, run.validation_curve, dash, color=colour, linewidth=1.5, label=label)
                kept = run.epochs == run.best_epoch
                axes.plot(run.epochs[kept], run.validation_curve[kept], marker, color=colour, mfc="white", markersize=7)
        axes.set_title(model)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        tidy(axes)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("validation accuracy", fontsize=10)
    add_legend(figure, panels[0])
    save(figure, path)


def draw_confusion(path: Path, study: Study) -> None:
    """Confusion matrices: colours are shares of the true class, numbers are test images, where they are legible."""
    matrices = confusion_matrices(study)
    columns = 3 if len(study.datasets) == 3 else 4  # keeps the arms of a model in one row
    figure, panels = _panels(len(matrices), columns=columns, panel_inches=(WIDTH_INCHES / columns, 2.6))
    named = slice(None, None, -(-len(study.classes) // MAX_NAMED))  # every one, or one of so many
    names = study.classes[named]
    for axes, (title, counts) in zip(panels, matrices.items(), strict=True):
        K, _ = counts.shape
        # A class without test images has shares of 0.
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(K, K) if K <= MAX_NUMBERED else ():
            # Legible on dark blue and on light.
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9)
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(K)[named], names, fontsize=8, rotation=label_rotation(names, fits=12))
        axes.set_yticks(range(K)[named], names, fontsize=8)
    shown = "numbers are test images" if len(study.classes) <= MAX_NUMBERED else "shares of each true class"
    figure.supxlabel(f"predicted ({shown}, summed over all runs)", fontsize=10)
    figure.supylabel("true", fontsize=10)
    save(figure, path)


def confusion_matrices(study: Study) -> dict[str, NDArray[np.int64]]:
    """The matrices that are drawn, by title: one per model and data set, or per data set where that would be many."""
    if len(study.models) * len(study.datasets) <= MAX_PANELS:
        return {
            f"{model}\n{dataset}": study.results[model, dataset].confusion
            for model in study.models
            for dataset in study.datasets
        }
    return {
        f"all {len(study.models)} models\n{dataset}": np.sum(
            [study.results[model, dataset].confusion for model in study.models], axis=0
        )
        for dataset in study.datasets
    }


def draw_comparison(path: Path, study: Study) -> None:
    """Test scores with 95 % confidence intervals, and validation scores, by model and data set."""
    num_models, num_datasets = len(study.models), len(study.datasets)
    has_legend = num_datasets <= MAX_LEGEND
    height = 1.3 + num_models * (0.25 + 0.2 * num_datasets)
    figure = Figure(figsize=(WIDTH_INCHES if has_legend else 1.3 * WIDTH_INCHES, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    # Rows: the arms of a model take 0.7 of its share of the height, so that models stand apart.
    places = np.arange(num_models)[:, None] + (np.arange(num_datasets) - (num_datasets - 1) / 2) * 0.7 / num_datasets
    # Scores that need no look at a photo.
    counts = np.array([count for count in study.num_test.values() if count])
    floors = (
        (left, "accuracy", counts.max() / counts.sum(), "always the largest class"),
        (right, "balanced_accuracy", 1 / len(counts), "chance"),
    )
    for axes, score, floor, floor_label in floors:
        for (dataset, (colour, marker, _)), y in zip(_styles(study), places.T, strict=True):
            results = [study.results[model, dataset] for model in study.models]
            estimates = [result.estimates[f"test_{score}"] for result in results]
            # Limits that are not known are NaN, which draws nothing.
            lows, highs = [estimate.low for estimate in estimates], [estimate.high for estimate in estimates]
            axes.hlines(y, lows, highs, color=colour, linewidth=2)
            axes.plot([estimate.value for estimate in estimates], y, marker, color=colour, label=in_legend(dataset))
            validation = [result.scores[f"validation_{score}"] for result in results]
            axes.plot(validation, y, marker, color=colour, mfc="white")
        axes.axvline(floor, color="black", linestyle="--", linewidth=1)
        axes.text(floor, -0.8, f" {floor_label}", va="top", fontsize=8)
        axes.set_xlabel(f"{score.replace('_', ' ')}: test with 95 % CI, hollow: validation", fontsize=9)
        # The first model on top, with room above it for the floor's name.
        axes.set_ylim(num_models - 0.4, -0.85)
        tidy(axes, grid_axis="x")
    if has_legend:
        left.set_yticks(range(num_models), study.models)
        add_legend(figure, left)
    else:
        left.set_yticks(places.ravel(), [f"{model}, {dataset}" for model in study.models for dataset in study.datasets])
    save(figure, path)


def _panels(
    count: int, *, columns: int, panel_inches: tuple[float, float], share_axes: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure and its `count` panels in row order; unused places in the last row stay empty."""
    columns = min(columns, count)
    rows = -(-count // columns)
    width, height = panel_inches
    figure = Figure(figsize=(columns * width, rows * height + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=share_axes, sharey=share_axes).ravel().tolist()
    for axes in panels[count:]:
        axes.remove()
    # Shared axes are labelled in the last row only, where panels may be missing.
    for axes in panels[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return figure, panels[:count]


def _styles(study: Study) -> list[tuple[str, tuple[str, str, str]]]:
    return list(zip(study.datasets, styles_of(len(study.datasets)), strict=True))
