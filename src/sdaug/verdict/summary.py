"""The results of a study: its runs, their scores averaged over seeds, and paired differences with intervals."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from sdaug.common.files import read_csv, read_json
from sdaug.common.manifest import Photo
from sdaug.verdict.statistics import Estimate, Floats, Ints, compare_runs, estimate_score

METRICS = tuple(
    f"{part}_{score}" for part in ("validation", "test") for score in ("accuracy", "balanced_accuracy", "macro_f1")
)
BASELINE = "original"


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """The test images, the same for every run; `labels` (N,) are class indices."""

    __test__ = False  # keeps pytest from collecting the class

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Ints


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trained classifier; `predicted` (N,) are class indices, `validation_curve` has one value per epoch.

    Without validation images (fold `none`), validation scores are NaN.
    """

    model: str
    dataset: str
    seed: int
    num_train: int
    num_validation: int
    best_epoch: int
    scores: dict[str, float]
    epochs: Ints
    validation_curve: Floats
    test: TestSet
    predicted: Ints

    @property
    def name(self) -> str:
        return f"{self.model}-{self.dataset}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model on one data set, over its seeds; `correct` (N,) is the share of seeds that classify an image right."""

    model: str
    dataset: str
    runs: tuple[Run, ...]
    scores: dict[str, float]
    recall: dict[str, float]
    correct: Floats
    confusion: Ints
    intervals: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm minus the baseline, paired on the same test images: for each model, and the mean over models."""

    arm: str
    uses_generators: bool
    by_model: dict[str, dict[str, Estimate]]
    mean: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Study:
    """All results of one study; `contrasts` compare each other arm with the baseline, if there is one."""

    classes: tuple[str, ...]
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    test: TestSet
    results: dict[tuple[str, str], Result]
    contrasts: tuple[Contrast, ...]

    @property
    def num_test(self) -> dict[str, int]:
        return {label: int((self.test.labels == k).sum()) for k, label in enumerate(self.classes)}


def read_study(
    metrics_dir: Path,
    *,
    classes: Sequence[str],
    models: Sequence[str],
    datasets: Sequence[str],
    generated: Collection[str],
    seeds: Sequence[int],
) -> Study:
    """The study of all models x data sets x seeds; other runs in the folder are ignored.

    `generated` names the data sets with synthetic images.

    Raises:
        FileNotFoundError: A run is incomplete; names the first missing file.
        ValueError: A file lacks a value or has wrong labels, or two runs were tested on different images.
    """
    if not (models and datasets and seeds):
        raise ValueError("params.yaml: classifiers, datasets and seeds: need at least one of each")
    keys = [(model, dataset, seed) for model in models for dataset in datasets for seed in seeds]
    for key in keys:
        _require_files(metrics_dir, "-".join(map(str, key)))
    runs = [_read_run(metrics_dir, *key, classes=classes) for key in keys]
    test = runs[0].test
    for run in runs:
        if run.test.ids != test.ids or not np.array_equal(run.test.labels, test.labels):
            raise ValueError(f"{run.name}: tested on different images than {runs[0].name}; run `dvc repro evaluate`")

    results = {
        (model, dataset): _summarize_runs(
            [run for run in runs if (run.model, run.dataset) == (model, dataset)], classes=classes
        )
        for model in models
        for dataset in datasets
    }
    others = [dataset for dataset in datasets if dataset != BASELINE] if BASELINE in datasets else []
    return Study(
        classes=tuple(classes),
        models=tuple(models),
        datasets=tuple(datasets),
        seeds=tuple(seeds),
        test=test,
        results=results,
        contrasts=tuple(_contrast(arm, models, results, test, uses_generators=arm in generated) for arm in others),
    )


def _contrast(
    arm: str,
    models: Sequence[str],
    results: Mapping[tuple[str, str], Result],
    test: TestSet,
    *,
    uses_generators: bool,
) -> Contrast:
    gains = {model: _gains(results[model, BASELINE], results[model, arm]) for model in models}
    return Contrast(
        arm=arm,
        uses_generators=uses_generators,
        by_model={model: compare_runs(gain[None], test.labels, test.groups) for model, gain in gains.items()},
        mean=compare_runs(np.stack(list(gains.values())), test.labels, test.groups),
    )


def _gains(baseline: Result, treated: Result) -> Floats:
    """`(seeds, N)`: 1 where only the treated run of a seed is right, -1 where only the baseline run is, else 0."""
    labels = baseline.runs[0].test.labels
    pairs = zip(baseline.runs, treated.runs, strict=True)
    return np.stack(
        [(after.predicted == labels) - (before.predicted == labels).astype(float) for before, after in pairs]
    )


def _summarize_runs(runs: Sequence[Run], *, classes: Sequence[str]) -> Result:
    test = runs[0].test
    correct = np.mean([run.predicted == test.labels for run in runs], axis=0)
    return Result(
        model=runs[0].model,
        dataset=runs[0].dataset,
        runs=tuple(runs),
        scores={metric: float(np.mean([run.scores[metric] for run in runs])) for metric in METRICS},
        recall={
            label: float(correct[test.labels == k].mean()) if (test.labels == k).any() else float("nan")
            for k, label in enumerate(classes)
        },
        correct=correct,
        confusion=sum(confusion_matrix(test.labels, run.predicted, labels=range(len(classes))) for run in runs),
        intervals=estimate_score(correct, test.labels, test.groups),
    )


def _require_files(metrics_dir: Path, name: str) -> None:
    for folder, suffix in (("train", "json"), ("history", "csv"), ("predictions", "csv"), ("evaluate", "json")):
        path = metrics_dir / folder / f"{name}.{suffix}"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing, so run {name} is incomplete; run `dvc repro evaluate`")


def _read_run(metrics_dir: Path, model: str, dataset: str, seed: int, *, classes: Sequence[str]) -> Run:
    name = f"{model}-{dataset}-{seed}"
    train_path = metrics_dir / "train" / f"{name}.json"
    evaluate_path = metrics_dir / "evaluate" / f"{name}.json"
    predictions_path = metrics_dir / "predictions" / f"{name}.csv"
    train, evaluate = read_json(train_path), read_json(evaluate_path)
    history = read_csv(metrics_dir / "history" / f"{name}.csv")
    test, predicted = _read_predictions(predictions_path, classes)
    num_validation = _value(train, "num_validation", train_path)

    def read_score(metric: str) -> float:
        if metric.startswith("test"):
            return float(_value(evaluate, metric, evaluate_path))
        return float(_value(train, metric, train_path)) if num_validation else math.nan

    counted = Counter(classes[k] for k in test.labels)
    for label, count in _value(evaluate, "num_test", evaluate_path).items():
        if counted[label] != count:
            raise ValueError(
                f"{predictions_path}: {counted[label]} images of {label}, but {evaluate_path} counts {count}; "
                "run `dvc repro evaluate`"
            )
    return Run(
        model=model,
        dataset=dataset,
        seed=seed,
        num_train=_value(train, "num_train", train_path),
        num_validation=num_validation,
        best_epoch=_value(train, "best_epoch", train_path),
        scores={metric: read_score(metric) for metric in METRICS},
        epochs=np.array([int(row["epoch"]) for row in history]),
        validation_curve=np.array([float(row.get("validation_accuracy", "nan")) for row in history]),
        test=test,
        predicted=predicted,
    )


def _read_predictions(path: Path, classes: Sequence[str]) -> tuple[TestSet, Ints]:
    rows = read_csv(path)
    columns = [f"p_{label}" for label in classes]
    found = [column for column in (rows[0] if rows else {}) if column.startswith("p_")]
    if found != columns:
        raise ValueError(f"{path}: columns {found}, need {columns}; run `dvc repro evaluate`")
    unknown = sorted({row["label"] for row in rows} - set(classes))
    if unknown:
        raise ValueError(f"{path}: label {unknown[0]}: not one of {', '.join(classes)}; run `dvc repro evaluate`")
    rows.sort(key=lambda row: row["id"])
    index = {label: k for k, label in enumerate(classes)}
    test = TestSet(
        ids=tuple(row["id"] for row in rows),
        groups=tuple(row["group"] for row in rows),
        labels=np.array([index[row["label"]] for row in rows]),
    )
    return test, np.array([[float(row[column]) for column in columns] for row in rows]).argmax(axis=1)


def _value(values: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in values:
        raise ValueError(f"{path}: {key}: missing; run `dvc repro evaluate`")
    return values[key]


def summarize(study: Study) -> dict[str, Any]:
    """The tracked metrics, to four decimals: mean scores over seeds by model and data set, and their differences.

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
    differences = {
        contrast.arm: {
            model: {
                metric: round(
                    study.results[model, contrast.arm].scores[metric] - study.results[model, BASELINE].scores[metric], 4
                )
                for metric in measured
            }
            for model in study.models
        }
        for contrast in study.contrasts
    }
    return {**means, "difference": differences, "num_test": study.num_test}


def sibling_accuracy(photos: Sequence[Photo], classes: Sequence[str]) -> float | None:
    """Test accuracy of guessing from groups alone, or None if no test photo shares a group with a training photo.

    The guess is the most common label among the training photos of the same group, or of all groups if it has none.
    """
    train = [photo for photo in photos if photo.split == "train"]
    test = [photo for photo in photos if photo.split == "test"]
    overall = Counter(photo.label for photo in train)
    siblings: dict[str, Counter[str]] = {}
    for photo in train:
        siblings.setdefault(photo.group, Counter())[photo.label] += 1
    if not any(photo.group in siblings for photo in test):
        return None

    def guess(photo: Photo) -> str:
        votes = siblings.get(photo.group, overall)
        return max(classes, key=lambda label: (votes[label], overall[label]))

    return sum(guess(photo) == photo.label for photo in test) / len(test)
