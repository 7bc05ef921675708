"""Results of a study compared with scikit-learn and SciPy, on runs small enough to check by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from sdaug.common.files import write_csv, write_json
from sdaug.common.manifest import Photo
from sdaug.verdict.published import NUM_TEST, NUM_VALIDATION, ROWS, Published, find_published
from sdaug.verdict.summary import Study, read_study, sibling_accuracy, summarize

CLASSES = ("score_1", "score_2", "score_3")
MODELS = ("resnet18", "tiny")
DATASETS = ("original", "augmented")
SEEDS = (0, 1)
LABELS = np.array([0] * 8 + [1] * 12 + [2] * 4)


def predict(*purpose: int) -> NDArray[np.float64]:
    """Random probabilities `(N, K)` that favour the true class."""
    leaning = np.random.default_rng(purpose).dirichlet(np.ones(len(CLASSES)), size=len(LABELS))
    leaning[np.arange(len(LABELS)), LABELS] += 0.2
    shares: NDArray[np.float64] = leaning / leaning.sum(axis=1, keepdims=True)
    return shares


def write_run(metrics_dir: Path, name: str, probabilities: NDArray[np.float64], *, validation: float) -> None:
    predicted = probabilities.argmax(axis=1)
    recalls = recall_score(LABELS, predicted, average=None, labels=range(len(CLASSES)))
    scores = {
        "test_accuracy": float(accuracy_score(LABELS, predicted)),
        "test_balanced_accuracy": float(balanced_accuracy_score(LABELS, predicted)),
        "test_macro_f1": float(f1_score(LABELS, predicted, average="macro")),
        "recall": dict(zip(CLASSES, map(float, recalls), strict=True)),
        "num_test": {label: int((LABELS == k).sum()) for k, label in enumerate(CLASSES)},
    }
    rows = [
        {"id": f"t{n:03}", "group": f"g{n // 2}", "label": CLASSES[LABELS[n]]}
        | {f"p_{label}": float(p) for label, p in zip(CLASSES, probabilities[n], strict=True)}
        for n in range(len(LABELS))
    ]
    history = [
        {"epoch": e, "train_loss": 1 / e, "validation_loss": 1.0, "validation_accuracy": validation * e / 3,
         "validation_balanced_accuracy": validation * e / 4}
        for e in (1, 2, 3)
    ]  # fmt: skip
    counts = {"best_epoch": 3, "num_train": 40, "num_validation": 10}
    validations = {f"validation_{score}": validation for score in ("accuracy", "balanced_accuracy", "macro_f1")}
    write_json(metrics_dir / "train" / f"{name}.json", counts | validations)
    write_csv(metrics_dir / "history" / f"{name}.csv", history)
    write_json(metrics_dir / "evaluate" / f"{name}.json", scores)
    write_csv(metrics_dir / "predictions" / f"{name}.csv", rows)


def write_runs(metrics_dir: Path, datasets: Sequence[str] = DATASETS) -> None:
    for m, model in enumerate(MODELS):
        for d, dataset in enumerate(datasets):
            for seed in SEEDS:
                validation = 0.6 + 0.1 * d + 0.02 * seed
                write_run(metrics_dir, f"{model}-{dataset}-{seed}", predict(m, d, seed), validation=validation)


def read(metrics_dir: Path, *, datasets: Sequence[str] = DATASETS) -> Study:
    return read_study(
        metrics_dir, classes=CLASSES, models=MODELS, datasets=datasets, generated=["augmented"], seeds=SEEDS
    )


@pytest.fixture
def metrics_dir(tmp_path: Path) -> Path:
    write_runs(tmp_path)
    return tmp_path


def test_summary_is_the_mean_over_seeds_of_scikit_learn(metrics_dir: Path) -> None:
    summary = summarize(read(metrics_dir))
    for m, model in enumerate(MODELS):
        for d, dataset in enumerate(DATASETS):
            predicted = [predict(m, d, seed).argmax(axis=1) for seed in SEEDS]
            expected = np.mean([balanced_accuracy_score(LABELS, p) for p in predicted])
            assert summary["test_balanced_accuracy"][model][dataset] == round(float(expected), 4)


def test_point_estimates_from_predictions_equal_the_evaluated_scores(metrics_dir: Path) -> None:
    for result in read(metrics_dir).results.values():
        for metric, interval in result.intervals.items():
            assert interval.value == pytest.approx(result.scores[metric], abs=1e-6)


def test_recall_equals_scikit_learn(metrics_dir: Path) -> None:
    recalls = [recall_score(LABELS, predict(0, 1, seed).argmax(axis=1), average=None) for seed in SEEDS]
    found = read(metrics_dir).results["resnet18", "augmented"].recall
    assert list(found.values()) == pytest.approx(np.mean(recalls, axis=0))


def test_difference_is_augmented_minus_original(metrics_dir: Path) -> None:
    study = read(metrics_dir)
    scores = {dataset: study.results["tiny", dataset].scores["test_accuracy"] for dataset in DATASETS}
    expected = scores["augmented"] - scores["original"]
    assert summarize(study)["difference"]["augmented"]["tiny"]["test_accuracy"] == round(expected, 4)
    (contrast,) = study.contrasts
    assert contrast.by_model["tiny"]["test_accuracy"].value == pytest.approx(expected, abs=1e-6)


def test_summary_has_no_difference_without_both_arms(metrics_dir: Path) -> None:
    assert summarize(read(metrics_dir, datasets=["original"]))["difference"] == {}


def test_a_run_that_was_not_asked_for_is_not_read(metrics_dir: Path) -> None:
    before = summarize(read(metrics_dir))
    (metrics_dir / "evaluate" / "old-original-0.json").write_text("{}")
    assert summarize(read(metrics_dir)) == before


@pytest.mark.parametrize("file", ["train/{}.json", "history/{}.csv", "predictions/{}.csv", "evaluate/{}.json"])
def test_missing_file_of_a_run_is_named(metrics_dir: Path, file: str) -> None:
    (metrics_dir / file.format("tiny-augmented-1")).unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny-augmented-1\.(json|csv): missing.*run `dvc repro evaluate`"):
        read(metrics_dir)


def test_runs_on_different_test_images_are_refused(metrics_dir: Path) -> None:
    path = metrics_dir / "predictions" / "tiny-augmented-1.csv"
    path.write_text(path.read_text().replace("t003", "t903"))
    with pytest.raises(ValueError, match="tiny-augmented-1: tested on different images than resnet18-original-0"):
        read(metrics_dir)


def test_predictions_that_were_cut_short_are_refused(metrics_dir: Path) -> None:
    path = metrics_dir / "predictions" / "tiny-original-0.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="3 images of score_3, but .* counts 4; run `dvc repro evaluate`"):
        read(metrics_dir)


def test_predictions_of_other_classes_are_refused(metrics_dir: Path) -> None:
    path = metrics_dir / "predictions" / "tiny-original-0.csv"
    path.write_text(path.read_text().replace("p_score_3", "p_score_4"))
    with pytest.raises(ValueError, match="p_score_4.*need .*p_score_3"):
        read(metrics_dir)


def photo(name: str, label: str, group: str, split: str) -> Photo:
    return Photo(id=name, label=label, group=group, split="test" if split == "test" else "train", fold=0, sha256="")


def test_sibling_guess_takes_the_label_of_the_group_else_the_commonest() -> None:
    photos = [
        photo("a", "score_1", "g1", "train"),
        photo("b", "score_2", "g2", "train"),
        photo("c", "score_2", "g3", "train"),
        photo("d", "score_1", "g1", "test"),
        photo("e", "score_3", "g2", "test"),
        photo("f", "score_2", "g9", "test"),
    ]
    assert sibling_accuracy(photos, CLASSES) == pytest.approx(2 / 3)


def test_sibling_guess_needs_groups_on_both_sides() -> None:
    photos = [photo("a", "score_1", "g1", "train"), photo("b", "score_1", "g2", "test")]
    assert sibling_accuracy(photos, CLASSES) is None


def is_share(percent: float, total: int) -> bool:
    """Whether some k/total prints as this percentage; the slides both round and truncate."""
    return any(abs(100 * k / total - percent) < 0.01 for k in range(total + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_published_test_accuracy_is_a_number_of_the_380_images(row: Published) -> None:
    assert is_share(row.test_percent, NUM_TEST)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_published_validation_accuracy_is_a_number_of_whole_batches(row: Published) -> None:
    assert is_share(row.validation_percent, NUM_VALIDATION[row.arm])


def test_published_best_model_had_241_right() -> None:
    best = find_published("resnet50", "original")
    assert best is not None and round(best.test_percent / 100 * NUM_TEST) == 241


def test_every_published_model_has_both_arms() -> None:
    models = {"resnet18", "resnet50", "vgg19", "inception_v3", "vit", "custom"}
    assert {(row.model, row.arm) for row in ROWS} == {(model, arm) for model in models for arm in DATASETS}


def test_model_of_ours_is_not_in_the_slides() -> None:
    assert find_published("tiny", "original") is None
