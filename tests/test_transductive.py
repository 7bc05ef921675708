"""Transductive classifiers in the report: tables of their own, and no part in anything else."""

from pathlib import Path

import pytest
import yaml
from studies import PARAMS, report, write_study
from test_results import DATASETS, MODELS

from sdaug.common.files import read_csv, read_json
from sdaug.verdict.inputs import plain_twins

SEEN, OTHERS = MODELS[-1], MODELS[:-1]


def write_with(root: Path, classifiers: dict[str, dict[str, str]]) -> str:
    """Write and report the study with these classifiers; returns what the stage printed."""
    root.mkdir()
    write_study(root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(params | {"classifiers": classifiers}, sort_keys=False))
    return report(root)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The study without its last classifier, and with that one transductive; what the second printed."""
    root = tmp_path_factory.mktemp("transductive")
    others: dict[str, dict[str, str]] = {model: {} for model in OTHERS}
    write_with(root / "without", others)
    return root / "without", root / "with", write_with(root / "with", others | {SEEN: {"method": "sctl"}})


def test_verdict_tables_and_rows_of_the_others_do_not_move(pair: tuple[Path, Path, str]) -> None:
    without, with_it, _ = pair
    for name in ("comparison.csv", "confusion.csv", "differences.csv"):
        assert (without / "report" / name).read_bytes() == (with_it / "report" / name).read_bytes()
    texts = [(root / "report" / "comparison.txt").read_text() for root in (without, with_it)]
    assert texts[1].startswith(texts[0].rstrip("\n"))
    summaries = [read_json(root / "metrics" / "report.json") for root in (without, with_it)]
    apart = summaries[1].pop("transductive")
    assert summaries[0] == summaries[1]
    assert list(apart["test_balanced_accuracy"]) == [SEEN]


def test_comparison_has_a_table_of_its_own_for_them(pair: tuple[Path, Path, str]) -> None:
    _, root, printed = pair
    own = (root / "report" / "comparison.txt").read_text().partition("Transductive classifiers")[2]
    assert SEEN in own and "learned from the test photos" in own
    assert not any(f"\n{model} " in own for model in OTHERS)
    assert "Transductive classifiers" in printed
    rows = read_csv(root / "report" / "transductive.csv")
    assert {row["model"] for row in rows} == {SEEN}


def test_limits_page_and_checklist_say_that_test_photos_were_used(pair: tuple[Path, Path, str]) -> None:
    without, root, _ = pair
    said = f"{SEEN}: transductive (SCTL-style). They learned from the test photos, too, without their labels."
    page, plain = ((path / "report" / "index.html").read_text() for path in (root, without))
    assert page.count(said) >= 3 and 'id="transductive"' in page
    assert said in (root / "report" / "verdict.md").read_text()
    assert "transductive" not in plain.lower()


def test_each_arm_of_them_is_in_their_table(pair: tuple[Path, Path, str]) -> None:
    _, root, _ = pair
    apart = read_json(root / "metrics" / "report.json")["transductive"]["test_accuracy"][SEEN]
    assert list(apart) == list(DATASETS)


def test_what_they_are_above_their_plain_twin_is_said(pair: tuple[Path, Path, str]) -> None:
    _, root, printed = pair
    summary = read_json(root / "metrics" / "report.json")
    twin = OTHERS[0]  # the same settings but for the method
    above = summary["transductive"]["above_plain"][SEEN]
    for arm in DATASETS:
        scores = [summary["transductive"]["test_accuracy"][SEEN][arm], summary["test_accuracy"][twin][arm]]
        found = above[arm]["test_accuracy"]
        assert found["value"] == pytest.approx(scores[0] - scores[1], abs=1e-3)
    assert f"{SEEN} - {twin}" in printed.partition("Transductive above plain training")[2]


def test_a_twin_has_the_same_settings_but_for_the_method(tmp_path: Path) -> None:
    same, other = {"architecture": "custom", "steps": 3}, {"architecture": "custom", "steps": 4}
    entries = {"far": other, "plain": same, "seer": same | {"method": "sctl", "sctl": {"starts": [0.2]}}}
    entries["alone"] = {"architecture": "resnet18", "method": "sctl"}
    params = yaml.safe_load(PARAMS.read_text()) | {"classifiers": entries}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert plain_twins(tmp_path / "params.yaml") == {"seer": "plain"}
