"""The report stage on a study of a few images: what it writes, prints and refuses."""

import hashlib
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from studies import AUDIT, BASE, CHECK, fidelity, inputs_of, report, write_letter
from test_results import CLASSES, DATASETS, LABELS, MODELS, SEEDS

from sdaug.common.files import read_csv, read_json, write_csv, write_json
from sdaug.common.sections import read_params
from sdaug.verdict.inputs import without_folders
from sdaug.verdict.number_formats import p_value
from sdaug.verdict.pictures import CAPTIONS
from sdaug.verdict.published import shows_slides
from sdaug.verdict.result_tables import comparison_table, result_tables
from sdaug.verdict.results import read_study
from sdaug.verdict.rows import comparison_rows
from sdaug.verdict.stage_tables import audit_table, fidelity_tables
from sdaug.verdict.table import Table


def hash_files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_second_run_gives_the_same_bytes(study_dir: Path) -> None:
    report(study_dir, out="again")
    assert hash_files(study_dir / "again") == hash_files(study_dir / "report")
    assert (study_dir / "metrics" / "again.json").read_bytes() == (study_dir / "metrics" / "report.json").read_bytes()


def test_report_is_whole_and_small(study_dir: Path) -> None:
    files = {path.name: path.stat().st_size for path in (study_dir / "report").iterdir()}
    tables = {"comparison.csv", "comparison.md", "comparison.txt", "confusion.csv", "differences.csv", "verdict.md"}
    assert set(files) == {*CAPTIONS, *tables, "index.html"}
    assert sum(files.values()) < 1_500_000


def test_comparison_has_a_row_for_each_model_and_data_set(study_dir: Path) -> None:
    rows = read_csv(study_dir / "report" / "comparison.csv")
    assert [(row["model"], row["dataset"]) for row in rows] == [
        (m, d) for m in MODELS for d in (*DATASETS, "prior_corrected")
    ]


@pytest.mark.parametrize(
    ("raw", "is_shown"), [("data/teats", True), ("data/phantom", False), ("data/raw/leaves", False)]
)
def test_slides_accuracies_stand_beside_those_of_their_photos_only(study_dir: Path, raw: str, is_shown: bool) -> None:
    seeds = dict.fromkeys(MODELS, SEEDS)
    study = read_study(study_dir / "metrics", classes=CLASSES, seeds=seeds, datasets=DATASETS, remedies=DATASETS)
    params = {"prepare": {"raw": raw}}
    titles = [table.title for table in result_tables(inputs_of(study, params=params), None)]
    assert any("slides" in title for title in titles) == is_shown
    columns = comparison_rows(study, is_slides=shows_slides(params))[0]
    assert ("published_test_accuracy" in columns) == is_shown


def test_means_of_scores_are_over_the_models_of_the_verdict(study_dir: Path) -> None:
    seeds = {MODELS[0]: (0, 1), **dict.fromkeys(MODELS[1:], (0,))}
    study = read_study(study_dir / "metrics", classes=CLASSES, seeds=seeds, datasets=DATASETS, remedies=DATASETS)
    table = comparison_table(replace(study, pooled=MODELS[:1]), None)
    alone = {row[1]: row[4:7] for row in table.rows if row[0] == MODELS[0]}
    assert {row[1]: row[4:7] for row in table.rows if row[0] == "mean of 1"} == alone
    assert f"on which the verdict rests ({MODELS[0]})" in table.note


def test_confusion_counts_test_images_by_true_and_predicted_class(study_dir: Path) -> None:
    rows = read_csv(study_dir / "report" / "confusion.csv")
    num_results = len(MODELS) * (len(DATASETS) + 1)
    assert len(rows) == num_results * len(CLASSES) ** 2
    assert list(rows[0]) == ["model", "dataset", "actual", "predicted", "count"]
    assert sum(int(row["count"]) for row in rows) == num_results * len(SEEDS) * len(LABELS)


def test_training_photos_are_counted_without_the_validation_fold(study_dir: Path) -> None:
    assert "| score_1 | 4 | 2 | 6 | 8 |" in (study_dir / "report" / "comparison.md").read_text()


def test_verdict_in_markdown_has_a_row_for_each_pair_of_arms(study_dir: Path) -> None:
    text = (study_dir / "report" / "verdict.md").read_text()
    assert re.search(r"^\| augmented - original \| [+-]", text, re.M) and "## What limits the verdict" in text


@pytest.mark.parametrize(
    ("section", "key", "value", "is_said"),
    [
        ("train", "selection", "balanced_accuracy", True),
        ("train", "selection", "macro_f1", True),
        ("train", "selection", "loss", False),
        ("split", "protocol", "published", False),
        ("split", "fold", "none", False),
    ],
)
def test_limits_name_the_few_photos_that_chose_epochs(
    own_study_dir: Path, section: str, key: str, value: str, is_said: bool
) -> None:
    path = own_study_dir / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params[section][key] = value
    path.write_text(yaml.safe_dump(params))
    report(own_study_dir)
    said = f"{CLASSES[0]} has 1 validation image: a single image is worth 100.0 points of its recall"
    assert (said in (own_study_dir / "report" / "comparison.md").read_text()) == is_said


def test_verdict_is_undecided_where_runs_and_draws_are_few(study_dir: Path) -> None:
    text = (study_dir / "report" / "comparison.txt").read_text()
    reasons = r"2 training runs per model, of 3 needed; 2 draws of the generators, of 3 needed; score_3 has test photos"
    assert re.search(rf"augmented against original: undecided \({reasons} of 2 groups, of 5 needed\)\.", text)


def test_arm_that_is_not_trained_is_said_to_be_so(study_dir: Path) -> None:
    text = (study_dir / "report" / "comparison.md").read_text()
    assert "prior_corrected is not trained: the runs of original, their probabilities divided by how common" in text
    assert "augmented against prior_corrected: " in (study_dir / "report" / "verdict.md").read_text()


def test_exposure_to_real_photos_is_told_for_each_arm(study_dir: Path) -> None:
    text = (study_dir / "report" / "comparison.md").read_text()
    assert "| augmented | 120 | 95.0 | 80 | 30 | 4 |" in text


def test_arms_that_differ_in_training_are_named(own_study_dir: Path) -> None:
    path = own_study_dir / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["datasets"]["original"]["training"] = {"loss": "focal"}
    params["datasets"]["augmented"]["images"] = {"per_class": 5}
    path.write_text(yaml.safe_dump(params))
    report(own_study_dir)
    said = "augmented differs from original in training, too: loss cross_entropy instead of focal."
    text = (own_study_dir / "report" / "comparison.md").read_text()
    assert said in text and "prior_corrected differs" not in text


def test_summary_holds_every_model_and_data_set(study_dir: Path) -> None:
    found = read_json(study_dir / "metrics" / "report.json")["test_accuracy"]
    arms = {*DATASETS, "prior_corrected"}
    assert {model: set(scores) for model, scores in found.items()} == dict.fromkeys(MODELS, arms)


def test_stage_prints_the_table_and_the_page(finished: tuple[Path, str]) -> None:
    _, printed = finished
    assert re.search(r"resnet18 +augmented", printed) and "report/index.html" in printed


def test_missing_run_ends_the_stage_and_leaves_the_old_report(own_study_dir: Path) -> None:
    (own_study_dir / "report").mkdir()
    (own_study_dir / "report" / "index.html").write_text("old")
    (own_study_dir / "metrics" / "predictions" / "tiny-original" / "0.csv").unlink()
    with pytest.raises(
        SystemExit, match=r"error: metrics/predictions/tiny-original/0.csv: missing.*dvc repro evaluate"
    ):
        report(own_study_dir)
    assert (own_study_dir / "report" / "index.html").read_text() == "old"


def test_a_leak_is_said_among_the_limits_and_its_images_in_the_table(own_study_dir: Path) -> None:
    leak = replace(CHECK, verdict="leak", num_found=1, ids=["p1", "p2"])
    write_letter(own_study_dir / "metrics", replace(AUDIT, verdict="leak", checks={"groups": leak}))
    report(own_study_dir)
    text = (own_study_dir / "report" / "comparison.md").read_text()
    assert "- The data leaks (groups on two sides of a split)" in text
    assert "| groups on two sides of a split | 9 photos | leak | p1, p2 | 1 |" in text


def test_a_sound_study_says_nothing_of_leaks_and_lists_doubted_labels(study_dir: Path) -> None:
    text = (study_dir / "report" / "comparison.md").read_text()
    assert "The data leaks" not in text
    assert "| doubted labels | 9 labels |  | d0, d1, d2, d3, d4 and 2 more | 7 |" in text


def test_share_that_no_judge_can_tell_is_a_dash_and_not_zero() -> None:
    letter = fidelity()
    found = letter.classes["score_3"]
    share = replace(found.judge.share, photos=None)
    judge = replace(found.judge, share=share, share_of_draw={"0": None, "1": None})
    letter = replace(letter, classes={**letter.classes, "score_3": replace(found, judge=judge)})
    assert fidelity_tables(letter)[0].rows[-1][3:7] == ("-", "12.5", "62.5", "-")


@pytest.mark.parametrize(("value", "said"), [(0.0, "< 0.001"), (9.9e-4, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_p_value_is_never_zero(value: float, said: str) -> None:
    assert p_value(value) == said


def test_known_label_errors_score_the_doubts() -> None:
    doubts = replace(AUDIT.label_errors, precision=0.25, recall=0.5, num_wrong=8)
    note = audit_table(AUDIT.checks, doubts).note
    assert "25 % of the doubted ones are wrong, and 50 % of the 8 wrong ones are doubted" in note


def test_limits_say_what_the_base_has_seen(study_dir: Path) -> None:
    for file in ("verdict.md", "comparison.md"):
        assert f"\n- {BASE.sentence}\n" in (study_dir / "report" / file).read_text()
    assert BASE.sentence in (study_dir / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("metrics/seen.json", "base"),
        ("metrics/fidelity.json", "fidelity"),
        ("steps/steps.csv", "fidelity"),
    ],
)
def test_missing_file_names_the_stage_that_makes_it(own_study_dir: Path, file: str, stage: str) -> None:
    (own_study_dir / file).unlink()
    with pytest.raises(SystemExit, match=rf"{file}: missing; run `dvc repro {stage}`"):
        report(own_study_dir)


@pytest.mark.parametrize("is_kept", [False, True])
def test_opinions_are_read_where_an_arm_keeps_a_share(own_study_dir: Path, is_kept: bool) -> None:
    (own_study_dir / "metrics" / "filter.json").unlink()
    share = 0.5 if is_kept else 1.0
    params = read_params(own_study_dir / "params.yaml")
    params["datasets"]["augmented"]["images"]["keep_share"] = share
    (own_study_dir / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    missing = pytest.raises(SystemExit, match=r"metrics/filter.json: missing; run `dvc repro filter`")
    with missing if is_kept else nullcontext():
        report(own_study_dir)


def test_missing_test_photos_are_named(own_study_dir: Path) -> None:
    for path in (own_study_dir / "prepared" / "images").glob("t0*.png"):
        path.unlink()
    with pytest.raises(SystemExit, match=r"prepared/images/t0\d+.png: missing; run `dvc repro prepare`"):
        report(own_study_dir)


def test_missing_generated_images_are_named(own_study_dir: Path) -> None:
    (own_study_dir / "synthetic" / "score_3" / "manifest.csv").unlink()
    with pytest.raises(SystemExit, match=r"synthetic/score_3/manifest.csv: missing; run `dvc repro synthesize`"):
        report(own_study_dir)


def test_text_table_aligns_names_left_and_numbers_right() -> None:
    table = Table(title="T", note="N.", header=("model", "acc"), rows=(("a", "1"), ("long_name", "100")), num_names=1)
    assert table.as_text().splitlines()[2:] == ["model      acc", "a            1", "long_name  100"]


def test_study_without_validation_has_a_report_of_its_test_scores(own_study_dir: Path) -> None:
    for path in (own_study_dir / "metrics" / "train").rglob("*.json"):
        kept = {key: value for key, value in read_json(path).items() if not key.startswith("validation")}
        write_json(path, kept | {"num_validation": 0})
    for path in (own_study_dir / "metrics" / "history").rglob("*.csv"):
        write_csv(path, [{"epoch": row["epoch"], "train_loss": row["train_loss"]} for row in read_csv(path)])
    report(own_study_dir)
    summary = read_json(own_study_dir / "metrics" / "report.json")
    assert "test_accuracy" in summary and not any(key.startswith("validation") for key in summary)
    rows = read_csv(own_study_dir / "report" / "comparison.csv")
    assert {row["validation_accuracy"] for row in rows} == {""} and {row["dataset"] for row in rows} == set(DATASETS)
    assert "there is no simple remedy beside it" in (own_study_dir / "report" / "comparison.md").read_text()
    html = (own_study_dir / "report" / "index.html").read_text()
    assert "nan" not in re.sub(r"data:image/png;base64,[^\"]*", "", html).lower()


def test_settings_do_not_tell_whose_machine_it_was() -> None:
    params = {
        "raw": "/home/anna/photos",
        "models": ["~/sd", r"C:\\Users\\anna\\sd"],
        "caption": "a / b",
        "rest": "../x",
    }
    assert without_folders(params) == {
        "raw": "…/photos",
        "models": ["…/sd", "…/sd"],
        "caption": "a / b",
        "rest": "../x",
    }
