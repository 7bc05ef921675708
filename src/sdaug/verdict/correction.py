"""The arm `prior_corrected`: the runs of another arm, for classes that are equally common; it costs no training."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from sdaug.classify.params import PRIOR_CORRECTED
from sdaug.classify.scores import correct_prior, further_scores, score
from sdaug.common.files import read_json
from sdaug.common.sections import convert
from sdaug.verdict.runs import FURTHER_METRICS, TEST_METRICS, VALIDATION_METRICS, Run


def corrected_run(run: Run, metrics_dir: Path) -> Run:
    """The run with its probabilities divided by how common each class was in training, and their scores.

    Its validation scores are those that the stage `train` found in the same way. It has no epochs of its own.

    Raises:
        ValueError: `train` wrote no such scores.
    """
    probabilities = correct_prior(run.probabilities, run.prior)
    found: dict[str, float | None] = {**score(probabilities, run.test.labels)}
    found |= further_scores(probabilities, run.test.labels)
    scores = {metric: found[metric.removeprefix("test_")] for metric in (*TEST_METRICS, *FURTHER_METRICS)}
    return replace(
        run,
        dataset=PRIOR_CORRECTED,
        scores=run.scores
        | {metric: math.nan if value is None else value for metric, value in scores.items()}
        | _validation_scores(run, metrics_dir),
        epochs=np.empty(0, dtype=np.int64),
        validation_curve=np.empty(0),
        probabilities=probabilities,
        predicted=probabilities.argmax(axis=1),
        # Those at the test set's prior stay the same, from whatever prior they are moved.
    )


def _validation_scores(run: Run, metrics_dir: Path) -> dict[str, float]:
    path = metrics_dir / "train" / f"{run.model}-{run.dataset}" / f"{run.seed}.json"
    values, scores = read_json(path), {}
    for metric in VALIDATION_METRICS:
        key = f"{PRIOR_CORRECTED}_{metric}"
        if key not in values:
            raise ValueError(f"{path}: {key}: missing; run `dvc repro train`")
        scores[metric] = convert(values[key], float, f"{path}: {key}")
    return scores
