"""README.md and docs/: their figures are those of the committed results, and their links lead somewhere."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest
from figures import ARMS, BLOCK, BLOCKS, PAGES, fill

ROOT = Path(__file__).parents[1]
README = PAGES[0].read_text(encoding="utf-8")
FINDINGS = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")


def test_quoted_figures_are_the_committed_ones() -> None:
    stale = [page.name for page in PAGES if fill(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    assert stale == [], "run `python tests/figures.py --write`"


def test_figures_of_results_are_quoted_in_blocks_only() -> None:
    assert {block[1] for page in PAGES for block in BLOCK.findall(page.read_text(encoding="utf-8"))} == set(BLOCKS)
    rest = BLOCK.sub("", README)
    assert re.findall(r"\d+\.\d %|[+-]\d+\.\d|\d+ (?:test|training|validation) photos|\d,\d{3}", rest) == []


def test_quoted_scores_are_those_of_the_metrics() -> None:
    summary = json.loads((ROOT / "metrics" / "summary.json").read_text(encoding="utf-8"))
    prepared = json.loads((ROOT / "metrics" / "prepare.json").read_text(encoding="utf-8"))
    (models,) = re.findall(r"Means over \d+ models \((.*?)\)", README)
    for arm in ARMS:
        means = [
            100 * fmean(summary[metric][model][arm] for model in models.split(", "))
            for metric in ("test_accuracy", "test_balanced_accuracy")
        ]
        (row,) = re.findall(rf"^\| {arm}: .*\|$", README, re.MULTILINE)
        assert [float(cell.strip(" %")) for cell in row.split("|")[2:4]] == pytest.approx(means, abs=0.06)
        sentence = re.search(rf"^- {arm} against original: .* changed by ([+-][\d.]+)", FINDINGS, re.MULTILINE)
        if sentence:
            found = summary["difference"][arm]["against_original"]["test_balanced_accuracy"]["value"]
            assert float(sentence[1]) == pytest.approx(100 * found, abs=0.06)
    num_test = sum(count for key, count in prepared.items() if key.startswith("test."))
    assert f"those on which the verdict rests, on {num_test} test photos:" in README


def test_readme_answers_before_it_explains() -> None:
    parts = [
        "<!-- figures: answer -->",
        "<!-- figures: scores -->",
        "make repro ",
        "make test ",
        "<!-- figures: at_prior",
    ]
    places = [README.index(part) for part in [*parts, "## A tour", "## What do you want", "## What is where"]]
    assert places == sorted(places)


def test_answer_and_table_are_of_the_same_models() -> None:
    (models,) = re.findall(r"Means over \d+ models \((.*?)\)", README)
    assert set(re.findall(r"^- .* Over \d+ models \((.*?)\)", FINDINGS, re.MULTILINE)) == {models}


def test_tree_has_a_line_for_each_folder_of_the_package_and_names_each_stage() -> None:
    (tree,) = re.findall(r"## What is where\n\n```\n(.*?)```", README, re.DOTALL)
    folders = re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)
    assert sorted(folders) == sorted(path.parent.name for path in (ROOT / "src" / "sdaug").glob("*/__init__.py"))
    owned = re.findall(r"stages? (\w+)(?: and (\w+))?", tree)
    stages = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert {name for names in owned for name in names if name in stages} == stages


def test_findings_are_short_and_each_has_a_command_and_a_commit() -> None:
    findings = re.findall(r"^\d+\. \*\*.*?(?=^\d+\. |^## |\Z)", FINDINGS, re.MULTILINE | re.DOTALL)
    assert len(FINDINGS.encode()) <= 8000 and len(findings) >= 12
    lacking = [found for found in findings if not re.search(r"`[^`]+`.*\b[0-9a-f]{7}\b", found, re.DOTALL)]
    assert lacking == []


def test_sample_outputs_of_the_docs_say_that_they_are_samples() -> None:
    for name in ("dvc", "planning"):
        text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        samples = re.findall(r"((?:.+\n)+)\n```console\n\$ (?:sdaug compare|sdaug plan|dvc exp run -n bf16)", text)
        assert samples and all("sample" in before for before in samples)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
