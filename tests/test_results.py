"""Results of a study compared with scikit-learn and SciPy, on runs small enough to check by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score, roc_auc_score

from sdaug.common.files import read_json, write_csv, write_json
from sdaug.common.manifest import Photo
from sdaug.verdict.published import NUM_TEST, NUM_VALIDATION, ROWS, Published, find_published
from sdaug.verdict.results import Study, _summarize_runs, read_study
from sdaug.verdict.rows import confusion_rows
from sdaug.verdict.siblings import sibling_scores
from sdaug.verdict.summary import summarize

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


def write_run(
    metrics_dir: Path,
    name: str,
    seed: int,
    probabilities: NDArray[np.float64],
    *,
    validation: float,
    draw: int | None = None,
) -> None:
    """Write one run's files; the training set has two thirds of its images from the first class."""
    predicted = probabilities.argmax(axis=1)
    recalls = recall_score(LABELS, predicted, average=None, labels=range(len(CLASSES)))
    scores = {
        "test_accuracy": float(accuracy_score(LABELS, predicted)),
        "test_balanced_accuracy": float(balanced_accuracy_score(LABELS, predicted)),
        "test_macro_f1": float(f1_score(LABELS, predicted, average="macro")),
        **{f"test_{score}": 0.25 for score in ("quadratic_kappa", "mean_absolute_error", "auroc")},
        "test_calibration_error": 0.125,
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
    counts: dict[str, Any] = {"best_epoch": 3, "num_train": 40, "num_validation": 10, "draw": draw}
    views = {"score_1": 80, "score_2": 30, "score_3": 10}
    counts |= {"num_views": views, "num_real_views": views | {"score_3": 4}}
    counts |= {"prior": {label: count / 120 for label, count in views.items()}}
    validations = {f"validation_{score}": validation for score in ("accuracy", "balanced_accuracy", "macro_f1")}
    corrected = {f"prior_corrected_{key}": value - 0.1 for key, value in validations.items()}
    write_json(metrics_dir / "train" / name / f"{seed}.json", counts | validations | corrected)
    write_csv(metrics_dir / "history" / name / f"{seed}.csv", history)
    write_json(metrics_dir / "evaluate" / name / f"{seed}.json", scores)
    write_csv(metrics_dir / "predictions" / name / f"{seed}.csv", rows)


def write_runs(metrics_dir: Path, datasets: Sequence[str] = DATASETS) -> None:
    for m, model in enumerate(MODELS):
        for d, dataset in enumerate(datasets):
            for seed in SEEDS:
                validation = 0.6 + 0.1 * d + 0.02 * seed
                draw = seed if dataset == "augmented" else None
                name = f"{model}-{dataset}"
                write_run(metrics_dir, name, seed, predict(m, d, seed), validation=validation, draw=draw)


def read(metrics_dir: Path, *, datasets: Sequence[str] = DATASETS) -> Study:
    return read_study(
        metrics_dir,
        classes=CLASSES,
        seeds=dict.fromkeys(MODELS, SEEDS),
        datasets=datasets,
        remedies=[name for name in datasets if name != "augmented"],
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
        for metric, estimate in result.estimates.items():
            assert estimate.value == pytest.approx(result.scores[metric], abs=1e-6)


def test_recall_equals_scikit_learn(metrics_dir: Path) -> None:
    recalls = [recall_score(LABELS, predict(0, 1, seed).argmax(axis=1), average=None) for seed in SEEDS]
    found = read(metrics_dir).results["resnet18", "augmented"].recall
    assert list(found.values()) == pytest.approx(np.mean(recalls, axis=0))


class Counted(tuple[str, ...]):
    """Groups that count how often they are looked through."""

    turns = 0

    def __iter__(self) -> Iterator[str]:
        self.turns += 1
        return super().__iter__()


def test_test_photos_are_not_looked_through_again_for_each_class(metrics_dir: Path) -> None:
    result = read(metrics_dir).results["tiny", "original"]
    turns = []
    for classes in (CLASSES, [*CLASSES, *(f"other_{k}" for k in range(30))]):
        groups = Counted(result.runs[0].test.groups)
        runs = [replace(run, test=replace(run.test, groups=groups)) for run in result.runs]
        again = _summarize_runs(runs, classes=classes)
        assert {label: again.recall_intervals[label] for label in CLASSES} == result.recall_intervals
        turns.append(groups.turns)
    assert turns[0] == turns[1]


def test_confusion_of_many_classes_has_rows_for_images_alone(metrics_dir: Path) -> None:
    study = read(metrics_dir)
    assert len(confusion_rows(study)) == len(study.results) * len(CLASSES) ** 2
    counts = np.eye(1000, dtype=np.int64)
    counts[3, 5] = 2
    results = {pair: replace(result, confusion=counts) for pair, result in study.results.items()}
    rows = confusion_rows(replace(study, classes=tuple(f"class_{k}" for k in range(1000)), results=results))
    assert len(rows) == len(results) * 1001
    (moved,) = [row for row in rows if row["count"] == 2 and row["model"] == "tiny" and row["dataset"] == "original"]
    assert (moved["actual"], moved["predicted"]) == ("class_3", "class_5")


def test_difference_is_augmented_minus_original(metrics_dir: Path) -> None:
    study = read(metrics_dir)
    gains = []
    contrast, *_ = study.contrasts
    for model in MODELS:
        scores = {dataset: study.results[model, dataset].scores["test_accuracy"] for dataset in DATASETS}
        gains.append(scores["augmented"] - scores["original"])
        assert contrast.by_model[model].estimates["test_accuracy"].value == pytest.approx(gains[-1], abs=1e-6)
    found = summarize(study)["difference"]["augmented"]["against_original"]["test_accuracy"]
    assert found == {"value": pytest.approx(np.mean(gains), abs=1e-4)}


def test_summary_has_no_difference_without_the_baseline(metrics_dir: Path) -> None:
    assert summarize(read(metrics_dir, datasets=["augmented"]))["difference"] == {}


def test_a_run_that_was_not_asked_for_is_not_read(metrics_dir: Path) -> None:
    before = summarize(read(metrics_dir))
    (metrics_dir / "evaluate" / "tiny-original" / "7.json").write_text("{}")
    assert summarize(read(metrics_dir)) == before


@pytest.mark.parametrize("file", ["train/{}.json", "history/{}.csv", "predictions/{}.csv", "evaluate/{}.json"])
def test_missing_file_of_a_run_is_named(metrics_dir: Path, file: str) -> None:
    (metrics_dir / file.format("tiny-augmented/1")).unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny-augmented/1\.(json|csv): missing.*run `dvc repro evaluate`"):
        read(metrics_dir)


def test_runs_on_different_test_images_are_refused(metrics_dir: Path) -> None:
    path = metrics_dir / "predictions" / "tiny-augmented" / "1.csv"
    path.write_text(path.read_text().replace("t003", "t903"))
    with pytest.raises(ValueError, match="tiny-augmented/1: tested on different images than resnet18-original/0"):
        read(metrics_dir)


def test_predictions_that_were_cut_short_are_refused(metrics_dir: Path) -> None:
    path = metrics_dir / "predictions" / "tiny-original" / "0.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="3 images of score_3, but `evaluate` counted 4; run `dvc repro evaluate`"):
        read(metrics_dir)


def test_predictions_of_other_classes_are_refused(metrics_dir: Path) -> None:
    path = metrics_dir / "predictions" / "tiny-original" / "0.csv"
    path.write_text(path.read_text().replace("p_score_3", "p_score_4"))
    with pytest.raises(ValueError, match="p_score_4.*need .*p_score_3"):
        read(metrics_dir)


def test_predictions_at_the_test_prior_follow_bayes(metrics_dir: Path) -> None:
    """Training showed two thirds of the first class, of which the test set has a third."""
    ratio = np.bincount(LABELS) / len(LABELS) / (np.array([80, 30, 10]) / 120)
    expected = np.mean([(predict(0, 0, seed) * ratio).argmax(axis=1) == LABELS for seed in SEEDS])
    found = read(metrics_dir).results["resnet18", "original"].scores["test_accuracy_at_prior"]
    assert found == pytest.approx(expected)


def test_exact_test_is_a_sign_test_of_the_first_seed(metrics_dir: Path) -> None:
    contrast, *_ = read(metrics_dir).contrasts
    right = [predict(0, d, 0).argmax(axis=1) == LABELS for d in (0, 1)]
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    test = contrast.by_model["resnet18"].test
    assert (test.num_gained, test.num_lost) == (gained, lost)
    assert test.p_value == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)


def write_models(metrics_dir: Path, num_seeds: dict[str, int], datasets: Sequence[str], *, num_draws: int) -> Study:
    """A study whose models have different numbers of seeds; the last data set is drawn by generators."""
    for (m, model), (d, dataset) in product(enumerate(num_seeds), enumerate(datasets)):
        for seed in range(num_seeds[model]):
            draw = seed % num_draws if dataset == "augmented" else None
            probabilities = predict(m, d, seed)
            write_run(metrics_dir, f"{model}-{dataset}", seed, probabilities, validation=0.5 + d / 10, draw=draw)
    seeds = {model: range(count) for model, count in num_seeds.items()}
    remedies = [name for name in datasets if name != "augmented"]
    return read_study(metrics_dir, classes=CLASSES, seeds=seeds, datasets=datasets, remedies=remedies)


def test_verdict_rests_on_models_with_enough_seeds(tmp_path: Path) -> None:
    study = write_models(tmp_path, {"resnet18": 3, "tiny": 1}, DATASETS, num_draws=3)
    contrast, *_ = study.contrasts
    assert study.pooled == ("resnet18",) and contrast.mean["test_balanced_accuracy"].is_known
    assert not contrast.by_model["tiny"].estimates["test_balanced_accuracy"].is_known


def test_three_seeds_of_one_draw_do_not_tell_the_luck_of_draws(tmp_path: Path) -> None:
    contrast, *_ = write_models(tmp_path, {"resnet18": 3}, DATASETS, num_draws=1).contrasts
    assert contrast.num_draws == 1 and not contrast.mean["test_balanced_accuracy"].is_known


def test_arms_are_compared_with_the_remedy_that_validates_best(tmp_path: Path) -> None:
    study = write_models(tmp_path, {"tiny": 3}, ["original", "weighted", "oversampled", "augmented"], num_draws=3)
    assert study.remedy == "oversampled"
    assert [(contrast.arm, contrast.against) for contrast in study.contrasts] == [
        ("weighted", "original"),
        ("oversampled", "original"),
        ("augmented", "original"),
        ("prior_corrected", "original"),
        ("weighted", "oversampled"),
        ("augmented", "oversampled"),
        ("prior_corrected", "oversampled"),
    ]


def test_prior_corrected_arm_has_the_scores_of_probabilities_divided_by_the_prior(metrics_dir: Path) -> None:
    study = read(metrics_dir)
    result = study.results["tiny", "prior_corrected"]
    corrected = [predict(1, 0, seed) / (np.array([80, 30, 10]) / 120) for seed in SEEDS]
    predicted = [moved.argmax(axis=1) for moved in corrected]
    expected = np.mean([balanced_accuracy_score(LABELS, p) for p in predicted])
    assert result.scores["test_balanced_accuracy"] == pytest.approx(expected)
    assert result.estimates["test_balanced_accuracy"].value == pytest.approx(expected)
    shares = [moved / moved.sum(axis=1, keepdims=True) for moved in corrected]
    areas = [roc_auc_score(LABELS, p, multi_class="ovr", average="macro") for p in shares]
    assert result.scores["test_auroc"] == pytest.approx(np.mean(areas), abs=1e-4)
    assert result.scores["validation_accuracy"] == pytest.approx(np.mean([0.5, 0.52]))
    plain = study.results["tiny", "original"]
    assert result.scores["test_accuracy_at_prior"] == plain.scores["test_accuracy_at_prior"]


def test_prior_corrected_arm_is_a_simple_remedy(metrics_dir: Path) -> None:
    assert read(metrics_dir).remedy == "prior_corrected"


def test_metrics_of_before_the_correction_name_the_stage_to_run(metrics_dir: Path) -> None:
    path = metrics_dir / "train" / "tiny-original" / "1.json"
    write_json(path, {key: value for key, value in read_json(path).items() if "corrected" not in key})
    rule = "tiny-original/1.json: prior_corrected_validation_accuracy: missing; run `dvc repro train`"
    with pytest.raises(ValueError, match=rule):
        read(metrics_dir)


def test_study_without_validation_has_no_prior_corrected_arm(metrics_dir: Path) -> None:
    for path in (metrics_dir / "train").rglob("*.json"):
        write_json(path, read_json(path) | {"num_validation": 0})
    study = read(metrics_dir)
    assert study.datasets == DATASETS and study.remedy is None


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
    found = sibling_scores(photos, CLASSES)
    assert found == pytest.approx({"test_accuracy": 2 / 3, "test_balanced_accuracy": 2 / 3})


def test_sibling_guess_needs_groups_on_both_sides() -> None:
    photos = [photo("a", "score_1", "g1", "train"), photo("b", "score_1", "g2", "test")]
    assert sibling_scores(photos, CLASSES) is None


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
