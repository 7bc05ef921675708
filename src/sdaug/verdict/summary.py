"""The metrics that DVC tracks, for programs: metrics/summary.json."""

import math
from typing import Any

from sdaug.verdict.results import Study
from sdaug.verdict.runs import METRICS
from sdaug.verdict.statistics import Estimate


def summarize(study: Study) -> dict[str, Any]:
    """To four decimals: mean scores over seeds by model and data set, and differences of arms.

    Scores that were not measured (validation scores without a validation fold) are left out.
    """
    measured = [m for m in METRICS if not any(math.isnan(result.scores[m]) for result in study.results.values())]
    means = {
        metric: {
            model: {dataset: round(study.results[model, dataset].scores[metric], 4) for dataset in study.datasets}
            for model in study.models
        }
        for metric in measured
    }
    differences: dict[str, dict[str, Any]] = {}
    for contrast in study.contrasts:
        differences.setdefault(contrast.arm, {})[f"against_{contrast.against}"] = {
            metric: summarize_estimate(estimate) for metric, estimate in contrast.mean.items()
        }
    return {**means, "difference": differences, "num_test": study.num_test}


def summarize_estimate(estimate: Estimate) -> dict[str, float]:
    """The value, with its interval and the smallest effect that the study would show, where they are known."""
    found = {"value": estimate.value}
    if estimate.is_known:
        found |= {"low": estimate.low, "high": estimate.high, "detectable": estimate.detectable}
    return {key: round(value, 4) for key, value in found.items()}
