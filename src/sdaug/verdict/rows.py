"""All numbers of the results as rows of CSV files, for programs; result_tables.py has them for readers."""

import math
from typing import Any

import numpy as np

from sdaug.verdict.published import find_published
from sdaug.verdict.results import Contrast, Study
from sdaug.verdict.statistics import Estimate

MAX_WHOLE = 12  # classes up to which a confusion matrix has a row for each pair


def comparison_rows(study: Study, *, is_slides: bool) -> list[dict[str, Any]]:
    """One row per model and data set with every number of the report as a fraction; missing values are blank.

    The slides' accuracies are columns where the photos are theirs.
    """
    rows = []
    for result in study.results.values():
        row: dict[str, Any] = {
            "model": result.model,
            "dataset": result.dataset,
            "num_seeds": len({run.seed for run in result.runs}),
            "num_train": result.runs[0].num_train,
            "num_validation": result.runs[0].num_validation,
            **{metric: _blank(value) for metric, value in result.scores.items()},
        }
        for name, estimate in result.estimates.items():
            row |= {f"{name}_low": _blank(estimate.low), f"{name}_high": _blank(estimate.high)}
        row |= {f"recall_{label}": _blank(value) for label, value in result.recall.items()}
        if is_slides:
            slide = find_published(result.model, result.dataset)
            row["published_validation_accuracy"] = slide.validation_percent / 100 if slide else ""
            row["published_test_accuracy"] = slide.test_percent / 100 if slide else ""
        rows.append(row)
    return rows


def difference_rows(study: Study) -> list[dict[str, Any]]:
    """One row per contrast, model (or their mean) and metric, as fractions; missing values are blank."""

    def row(contrast: Contrast, model: str, metric: str, estimate: Estimate) -> dict[str, Any]:
        numbers = (estimate.value, estimate.low, estimate.high, estimate.detectable)
        names = {"arm": contrast.arm, "against": contrast.against, "model": model, "metric": metric}
        return names | dict(zip(("difference", "low", "high", "detectable"), map(_blank, numbers), strict=True))

    return [
        row(contrast, model, metric, estimate)
        for contrast in study.contrasts
        for model, estimates in [
            *((model, difference.estimates) for model, difference in contrast.by_model.items()),
            ("mean", contrast.mean),
        ]
        for metric, estimate in estimates.items()
    ]


def confusion_rows(study: Study) -> list[dict[str, Any]]:
    """One row per model, data set, true class and predicted class: how many test images, over all runs.

    With many classes, whose pairs would be millions of rows, those without images are left out.
    """
    K = len(study.classes)
    return [
        {
            "model": result.model,
            "dataset": result.dataset,
            "actual": study.classes[a],
            "predicted": study.classes[p],
            "count": int(result.confusion[a, p]),
        }
        for result in study.results.values()
        for a, p in (np.ndindex(K, K) if K <= MAX_WHOLE else np.argwhere(result.confusion).tolist())
    ]


def _blank(value: float) -> float | str:
    return "" if math.isnan(value) else value
