"""The results of a study: scores averaged over seeds, and paired differences between arms, with intervals."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import confusion_matrix

from sdaug.classify.params import PRIOR_CORRECTED
from sdaug.common.params import Fold
from sdaug.verdict.correction import corrected_run
from sdaug.verdict.runs import AT_PRIOR, METRICS, Run, TestSet, read_runs, require_one_test_set
from sdaug.verdict.statistics import (
    MIN_RUNS,
    Estimate,
    ExactTest,
    Floats,
    Folds,
    Interval,
    Ints,
    correct_for_many,
    estimate_recall,
    estimate_runs,
    exact_test,
)

BASELINE = "original"
PRIMARY = "test_balanced_accuracy"
ESTIMATED = (PRIMARY, "test_accuracy", AT_PRIOR)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model on one data set, over its seeds; intervals hold the luck of images, training runs and draws."""

    model: str
    dataset: str
    runs: tuple[Run, ...]
    scores: dict[str, float]
    estimates: dict[str, Estimate]
    recall: dict[str, float]
    recall_intervals: dict[str, Interval | None]
    confusion: Ints


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One model, an arm minus another: estimates by metric, and the first seed's exact test with Holm's p value."""

    estimates: dict[str, Estimate]
    test: ExactTest
    corrected_p: float


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm minus another, paired on the same test images, for each model; `mean` is over the pooled models."""

    arm: str
    against: str
    num_draws: int | None  # of the arm's generators, if it uses any, in each fold
    by_model: dict[str, Difference]
    mean: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Study:
    """All results of one study.

    `folds` are the validation folds on which all of it was run, first the study's own. `pooled` are the models on which
    the verdict rests: those with enough seeds, or all if none has. `remedy` is the best arm without generated images or
    further photos by validation, if there is one beside the baseline.
    """

    classes: tuple[str, ...]
    folds: tuple[Fold, ...]
    seeds: dict[str, tuple[int, ...]]
    datasets: tuple[str, ...]
    test: TestSet
    results: dict[tuple[str, str], Result]
    pooled: tuple[str, ...]
    remedy: str | None
    contrasts: tuple[Contrast, ...]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.seeds)

    @property
    def trained(self) -> tuple[str, ...]:
        """The arms that have training runs of their own."""
        return tuple(name for name in self.datasets if name != PRIOR_CORRECTED)

    @property
    def answers(self) -> list[Contrast]:
        """The contrasts, first those of generated images, which are what the study asks about."""
        return sorted(self.contrasts, key=lambda contrast: contrast.num_draws is None)

    @property
    def num_runs(self) -> int:
        """Training runs of each pooled model that the verdict uses, in each fold."""
        return min(len(self.seeds[model]) for model in self.pooled)

    @property
    def num_test(self) -> dict[str, int]:
        return {label: int((self.test.labels == k).sum()) for k, label in enumerate(self.classes)}


def read_study(
    metrics_dir: Path,
    *,
    classes: Sequence[str],
    seeds: Mapping[str, Sequence[int]],
    datasets: Sequence[str],
    remedies: Collection[str],
    folds: Mapping[Fold, Path] | None = None,
    num_folds: int = 2,
) -> Study:
    """The study of all models x data sets x seeds x folds; `seeds` are those of each model.

    `folds` has the metrics of each fold, first of the study's own in `metrics_dir`; None for that alone. The photos are
    split into `num_folds`, of which all but one train.

    `remedies` names the simple remedies: arms without generated images or further photos. Where the baseline has
    validation scores, its runs with their prior corrected are one more: the arm `prior_corrected`, the last one.

    Raises:
        FileNotFoundError: A run is incomplete; names the first missing file.
        ValueError: A file lacks a value or has wrong labels, or two runs were tested on different images.
    """
    if not (seeds and datasets):
        raise ValueError("params.yaml: classifiers, datasets and seeds: need at least one of each")
    keys = [(model, dataset, seed) for model in seeds for dataset in datasets for seed in seeds[model]]
    folds = folds or {0: metrics_dir}
    by_fold = [
        _read_fold(folder, keys, classes=classes, fold=fold, num_folds=num_folds) for fold, folder in folds.items()
    ]
    require_one_test_set([run for runs in by_fold for run in runs.values()])
    if any(dataset == PRIOR_CORRECTED for _, dataset, _ in by_fold[0]):
        datasets, remedies = [*datasets, PRIOR_CORRECTED], [*remedies, PRIOR_CORRECTED]
    # Seed by seed, so that the first runs of a model are of all folds.
    results = {
        (model, dataset): _summarize_runs(
            [runs[model, dataset, seed] for seed in seeds[model] for runs in by_fold], classes=classes
        )
        for model in seeds
        for dataset in datasets
    }
    pooled = tuple(model for model in seeds if len(seeds[model]) >= MIN_RUNS) or tuple(seeds)
    remedy = _best_remedy([name for name in datasets if name in remedies and name != BASELINE], results)
    pairs = [(arm, BASELINE) for arm in datasets if arm != BASELINE and BASELINE in datasets]
    pairs += [(arm, remedy) for arm in datasets if remedy is not None and arm not in (BASELINE, remedy)]
    return Study(
        classes=tuple(classes),
        folds=tuple(folds),
        seeds={model: tuple(values) for model, values in seeds.items()},
        datasets=tuple(datasets),
        test=by_fold[0][keys[0]].test,
        results=results,
        pooled=pooled,
        remedy=remedy,
        contrasts=tuple(_contrast(arm, against, pooled, results) for arm, against in pairs),
    )


def _read_fold(
    metrics_dir: Path, keys: Sequence[tuple[str, str, int]], *, classes: Sequence[str], fold: Fold, num_folds: int
) -> dict[tuple[str, str, int], Run]:
    """The runs of one fold; with validation scores those of the baseline once more, as `prior_corrected`."""
    runs = read_runs(metrics_dir, keys, classes=classes, fold=fold, num_folds=num_folds)
    plain = [run for run in runs.values() if run.dataset == BASELINE]
    if plain and all(run.num_validation for run in plain):
        runs |= {(run.model, PRIOR_CORRECTED, run.seed): corrected_run(run, metrics_dir) for run in plain}
    return runs


def _summarize_runs(runs: Sequence[Run], *, classes: Sequence[str]) -> Result:
    test, luck = runs[0].test, _luck(runs)
    correct = np.stack([run.correct(PRIMARY) for run in runs])

    def of_class(k: int) -> Floats:
        return correct[:, test.labels == k]

    groups_of: dict[int, list[str]] = {k: [] for k in range(len(classes))}
    for group, label in zip(test.groups, test.labels.tolist(), strict=True):
        groups_of[label].append(group)
    present = {label: k for k, label in enumerate(classes) if (test.labels == k).any()}
    return Result(
        model=runs[0].model,
        dataset=runs[0].dataset,
        runs=tuple(runs),
        scores={metric: float(np.mean([run.scores[metric] for run in runs])) for metric in METRICS},
        estimates=_estimates(
            {m: np.stack([run.correct(m) for run in runs])[None] for m in (PRIMARY, AT_PRIOR)}, test, luck
        ),
        recall={label: float(of_class(k).mean()) if label in present else math.nan for k, label in enumerate(classes)},
        recall_intervals={
            label: estimate_recall(of_class(k), groups_of[k], *luck) if label in present else None
            for k, label in enumerate(classes)
        },
        confusion=sum(confusion_matrix(test.labels, run.predicted, labels=range(len(classes))) for run in runs),
    )


def _estimates(values: Mapping[str, Floats], test: TestSet, luck: "Luck") -> dict[str, Estimate]:
    """An estimate of each metric in `ESTIMATED`; `values` `(M, S, N)` are those of the primary one and at the prior."""
    # Accuracy and balanced accuracy are two averages of the same values.
    found = estimate_runs(values[PRIMARY], test.labels, test.groups, *luck)
    return found | {AT_PRIOR: estimate_runs(values[AT_PRIOR], test.labels, test.groups, *luck)["test_accuracy"]}


class Luck(NamedTuple):
    """What runs share: the draw of each, if they have synthetic images, and the fold of each, if there are several."""

    draws: list[int] | None
    folds: Folds | None


def _luck(runs: Sequence[Run]) -> Luck:
    draws = [run.draw for run in runs if run.draw is not None]
    folds, K = tuple(run.fold for run in runs), runs[0].num_folds
    several = Folds(of_run=folds, overlap=(K - 2) / (K - 1)) if len(set(folds)) > 1 else None
    return Luck(draws or None, several)


def _best_remedy(arms: Sequence[str], results: Mapping[tuple[str, str], Result]) -> str | None:
    """The arm with the highest validation score, the mean over models; None if there is none or no validation."""
    metric = PRIMARY.replace("test", "validation")

    def mean_of(arm: str) -> float:
        return float(np.mean([result.scores[metric] for (_, dataset), result in results.items() if dataset == arm]))

    known = [arm for arm in arms if not math.isnan(mean_of(arm))]
    return max(known, key=mean_of, default=None)


def _contrast(arm: str, against: str, pooled: Sequence[str], results: Mapping[tuple[str, str], Result]) -> Contrast:
    models = list(dict.fromkeys(model for model, _ in results))
    pairs = {model: (results[model, arm].runs, results[model, against].runs) for model in models}
    tests = {model: exact_test(_gains(*pair, PRIMARY)[0]) for model, pair in pairs.items()}
    corrected = correct_for_many([test.p_value for test in tests.values()])
    test_set = next(iter(pairs.values()))[0][0].test
    by_model = {
        model: Difference(
            estimates=estimate_gains(*pair),
            test=tests[model],
            corrected_p=p_value,
        )
        for (model, pair), p_value in zip(pairs.items(), corrected, strict=True)
    }
    paired = {metric: pair_runs(results, pooled, arm, against, metric=metric) for metric in (PRIMARY, AT_PRIOR)}
    draws, luck = paired[PRIMARY].luck.draws, paired[PRIMARY].luck
    return Contrast(
        arm=arm,
        against=against,
        num_draws=len(set(draws)) if draws else None,
        by_model=by_model,
        mean=_estimates({metric: pairs.gains for metric, pairs in paired.items()}, test_set, luck),
    )


def estimate_gains(treated: Sequence[Run], baseline: Sequence[Run]) -> dict[str, Estimate]:
    """What the treated runs score above those that stand at the same place, on the same test images, by metric."""
    values = {metric: _gains(treated, baseline, metric)[None] for metric in (PRIMARY, AT_PRIOR)}
    return _estimates(values, treated[0].test, _luck(treated))


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Gains `(M, S, N)` of M models and S runs of each on N test images, and what the runs share."""

    gains: Floats
    luck: Luck


def pair_runs(
    results: Mapping[tuple[str, str], Result], models: Sequence[str], arm: str, against: str, *, metric: str = PRIMARY
) -> Pairs:
    """The runs of two arms in pairs, as many of each model: the mean is over all of them."""
    found = [(results[model, arm].runs, results[model, against].runs) for model in models]
    num_runs = min(len(runs) for runs, _ in found)
    runs, others = found[0]
    return Pairs(
        gains=np.stack([_gains(*pair, metric)[:num_runs] for pair in found]),
        luck=_luck(runs[:num_runs])._replace(draws=_luck(runs[:num_runs]).draws or _luck(others[:num_runs]).draws),
    )


def _gains(treated: Sequence[Run], baseline: Sequence[Run], metric: str) -> Floats:
    """`(S, N)`: 1 where only the treated run of a seed is right, -1 where only the other run is, else 0."""
    return np.stack(
        [after.correct(metric) - before.correct(metric) for after, before in zip(treated, baseline, strict=True)]
    )
