"""The training runs of a study, as the stages `train` and `evaluate` left them, each with its test predictions."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdaug.classify.scores import move_prior
from sdaug.common.files import read_csv, read_json
from sdaug.common.params import Fold
from sdaug.common.sections import Checked, convert
from sdaug.common.tables import read_table
from sdaug.verdict.statistics import Floats, Ints

VALIDATION_METRICS = tuple(f"validation_{score}" for score in ("accuracy", "balanced_accuracy", "macro_f1"))
TEST_METRICS = tuple(f"test_{score}" for score in ("accuracy", "balanced_accuracy", "macro_f1"))
AT_PRIOR = "test_accuracy_at_prior"
FURTHER_METRICS = tuple(f"test_{s}" for s in ("quadratic_kappa", "mean_absolute_error", "auroc", "calibration_error"))
METRICS = (*VALIDATION_METRICS, *TEST_METRICS, AT_PRIOR, *FURTHER_METRICS)


@dataclass(frozen=True, kw_only=True)
class EpochRow(Checked):
    """An epoch of a training run; there is no validation accuracy without validation images."""

    epoch: int
    validation_accuracy: float = math.nan


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """The test images, the same for every run; `labels` (N,) are class indices."""

    __test__ = False  # keeps pytest from collecting the class

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: Ints


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trained classifier; `draw` is that of its synthetic images, if it has any.

    It validates on `fold` of `num_folds`.
    `prior` (K,) is how common each class was to the loss. `probabilities` are `(N, K)`; `predicted` (N,) are class
    indices, `predicted_at_prior` those for classes as common as in the test set.
    `num_views` and `num_real_views` count per class how often training showed an image, and a real one.
    `validation_curve` has one value per epoch. Without validation images (fold `none`), validation scores are NaN.
    """

    model: str
    dataset: str
    seed: int
    fold: Fold
    num_folds: int
    draw: int | None
    num_train: int
    num_validation: int
    num_views: dict[str, int]
    num_real_views: dict[str, int]
    best_epoch: int
    scores: dict[str, float]
    epochs: Ints
    validation_curve: Floats
    test: TestSet
    prior: Floats
    probabilities: Floats
    predicted: Ints
    predicted_at_prior: Ints

    @property
    def name(self) -> str:
        return f"{self.model}-{self.dataset}/{self.seed}"

    def correct(self, metric: str) -> Floats:
        """1 for each test image `(N,)` that is predicted right, else 0, as the metric counts it."""
        predicted = self.predicted_at_prior if metric == AT_PRIOR else self.predicted
        return np.asarray(predicted == self.test.labels, dtype=np.float64)


def read_runs(
    metrics_dir: Path, keys: Sequence[tuple[str, str, int]], *, classes: Sequence[str], fold: Fold, num_folds: int
) -> dict[tuple[str, str, int], Run]:
    """The runs of these models, data sets and seeds; others in the folder are ignored.

    All validate on `fold` of `num_folds`.

    Raises:
        FileNotFoundError: A run is incomplete; names the first missing file.
        ValueError: A file lacks a value or has wrong labels, or two runs were tested on different images.
    """
    for model, dataset, seed in keys:
        _require_files(metrics_dir, f"{model}-{dataset}", seed)
    runs = {key: _read_run(metrics_dir, *key, classes=classes, fold=fold, num_folds=num_folds) for key in keys}
    require_one_test_set(list(runs.values()))
    return runs


def require_one_test_set(runs: Sequence[Run]) -> None:
    """Check that all runs were tested on the same images.

    Raises:
        ValueError: two were not.
    """
    first, *others = runs
    for run in others:
        if run.test.ids != first.test.ids or not np.array_equal(run.test.labels, first.test.labels):
            fold = f" of fold {run.fold}" if run.fold != first.fold else ""
            rule = f"tested on different images than {first.name}"
            raise ValueError(f"{run.name}{fold}: {rule}; run `dvc repro evaluate`")


def _require_files(metrics_dir: Path, name: str, seed: int) -> None:
    for kind, suffix in (("train", "json"), ("history", "csv"), ("predictions", "csv"), ("evaluate", "json")):
        path = metrics_dir / kind / name / f"{seed}.{suffix}"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing, so a run is incomplete; run `dvc repro evaluate`")


def _read_run(
    metrics_dir: Path, model: str, dataset: str, seed: int, *, classes: Sequence[str], fold: Fold, num_folds: int
) -> Run:
    def path_of(kind: str, suffix: str) -> Path:
        return metrics_dir / kind / f"{model}-{dataset}" / f"{seed}.{suffix}"

    train_path, evaluate_path = path_of("train", "json"), path_of("evaluate", "json")
    train, evaluate = read_json(train_path), read_json(evaluate_path)
    history = read_table(path_of("history", "csv"), EpochRow)
    test, probabilities = _read_predictions(path_of("predictions", "csv"), classes)
    counts = _value(evaluate, "num_test", dict[str, int], evaluate_path)
    _require_counts(test, counts, path_of("predictions", "csv"), classes)
    accuracy = _value(evaluate, "test_accuracy", float, evaluate_path)
    _require_accuracy(test, probabilities, accuracy, path_of("predictions", "csv"))
    num_validation = _value(train, "num_validation", int, train_path)
    shares = _value(train, "prior", dict[str, float], train_path)
    prior = np.array([_value(shares, label, float, train_path) for label in classes])
    test_prior = np.bincount(test.labels, minlength=len(classes)) / len(test.labels)
    at_prior = move_prior(probabilities, prior, test_prior).argmax(axis=1)
    scores = {metric: _number(evaluate, metric, evaluate_path) for metric in (*TEST_METRICS, *FURTHER_METRICS)}
    scores |= {
        metric: _number(train, metric, train_path) if num_validation else math.nan for metric in VALIDATION_METRICS
    }
    return Run(
        model=model,
        dataset=dataset,
        seed=seed,
        fold=fold,
        num_folds=num_folds,
        draw=_value(train, "draw", int | None, train_path),
        num_train=_value(train, "num_train", int, train_path),
        num_validation=num_validation,
        num_views=_value(train, "num_views", dict[str, int], train_path),
        num_real_views=_value(train, "num_real_views", dict[str, int], train_path),
        best_epoch=_value(train, "best_epoch", int, train_path),
        scores=scores | {AT_PRIOR: float(np.mean(at_prior == test.labels))},
        epochs=np.array([row.epoch for row in history]),
        validation_curve=np.array([row.validation_accuracy for row in history]),
        test=test,
        prior=prior,
        probabilities=probabilities,
        predicted=probabilities.argmax(axis=1),
        predicted_at_prior=at_prior,
    )


def _read_predictions(path: Path, classes: Sequence[str]) -> tuple[TestSet, Floats]:
    rows = read_csv(path, columns=("id", "group", "label"))
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
    if len(set(test.ids)) < len(test.ids):
        raise ValueError(f"{path}: an image stands in two rows; run `dvc repro evaluate`")
    return test, np.array([[_probability(row, column, path) for column in columns] for row in rows])


def _probability(row: Mapping[str, str], column: str, path: Path) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{path}: {row['id']}: {column} {row[column]!r}: need 0 to 1; run `dvc repro evaluate`")
    return value


def _require_counts(test: TestSet, counts: Mapping[str, int], path: Path, classes: Sequence[str]) -> None:
    counted = Counter(classes[k] for k in test.labels)
    for label, count in counts.items():
        if counted[label] != count:
            raise ValueError(
                f"{path}: {counted[label]} images of {label}, but `evaluate` counted {count}; run `dvc repro evaluate`"
            )


def _require_accuracy(test: TestSet, probabilities: Floats, accuracy: float, path: Path) -> None:
    """Check that the predictions are those that `evaluate` scored, as far as six digits of a probability tell."""
    best = probabilities.max(axis=1, keepdims=True)
    num_ties = np.count_nonzero((probabilities == best).sum(axis=1) > 1)
    found = float(np.mean(probabilities.argmax(axis=1) == test.labels))
    if abs(found - accuracy) > num_ties / len(test.labels) + 1e-6:
        rule = f"but `evaluate` counted {accuracy:.6f}; was one of the two edited?"
        raise ValueError(f"{path}: accuracy {found:.6f}, {rule} run `dvc repro evaluate`")


def _number(values: Mapping[str, Any], key: str, path: Path) -> float:
    """A score; NaN where it could not be computed, as AUROC of a single class."""
    value = _value(values, key, float | None, path)
    return math.nan if value is None else float(value)


def _value(values: Mapping[str, Any], key: str, kind: Any, path: Path) -> Any:
    if key not in values:
        raise ValueError(f"{path}: {key}: missing; run `dvc repro evaluate`")
    return convert(values[key], kind, f"{path}: {key}")
