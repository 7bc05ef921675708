"""Dose and response: scores against how many generated images an arm holds, where several arms differ in that alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sdaug.verdict.drawing import in_legend, save, styles_of, tidy
from sdaug.verdict.results import PRIMARY, Study

FILE = "dose.png"
CAPTION = (
    "Balanced accuracy on the test set against the dose of generated images, as a multiple of what each class lacks. "
    "Thin lines: one model each, the mean over its runs. Thick line: the mean of the models on which the verdict rests."
)
MIN_DOSES = 3  # two arms are a difference, no curve
WIDTH_INCHES, HEIGHT_INCHES, DPI = 5.4, 3.6, 200


def find_doses(datasets: Mapping[str, Mapping[str, Any]]) -> dict[float, str]:
    """The arms that differ in nothing but `images.synthetic`, by that dose; empty with fewer than three doses.

    `datasets` are all settings of each arm. Where several sets of arms qualify, the one with most doses is meant.
    """
    families: dict[str, dict[float, str]] = {}
    for arm, settings in datasets.items():
        images = {key: value for key, value in settings["images"].items() if key != "synthetic"}
        family = families.setdefault(repr((sorted(images.items()), sorted(settings["training"].items()))), {})
        # An arm that names images from elsewhere, and no number, has as many as each class lacks.
        is_plain = images.get("external") and not (settings["images"]["synthetic"] or images["per_class"])
        family.setdefault(1.0 if is_plain else float(settings["images"]["synthetic"]), arm)
    largest = max(families.values(), key=len, default={})
    return dict(sorted(largest.items())) if len(largest) >= MIN_DOSES else {}


def draw_dose(path: Path, study: Study, doses: Mapping[float, str]) -> None:
    """A line per model, and their mean over the pooled models."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    scores = {
        model: np.array([100 * study.results[model, arm].scores[PRIMARY] for arm in doses.values()])
        for model in study.models
    }
    for (model, values), (colour, marker, dash) in zip(scores.items(), styles_of(len(scores)), strict=True):
        line = axes.plot(list(doses), values, dash, marker=marker, markersize=4, label=in_legend(model))[0]
        line.set(color=colour, linewidth=1)
    mean = np.mean([scores[model] for model in study.pooled], axis=0)
    axes.plot(list(doses), mean, "-", color="black", linewidth=2.5, label=f"mean of {len(study.pooled)}")
    axes.set_xticks(list(doses), [f"{dose:g}" for dose in doses])
    axes.tick_params(labelsize=8)
    axes.set_xlabel("dose of generated images", fontsize=8)
    axes.set_ylabel("balanced accuracy, %", fontsize=8)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    save(figure, path, dpi=DPI)
