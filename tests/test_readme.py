"""README.md: its figures are those of the committed results, and its links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("arm", ["original", "oversampled", "augmented"])
def test_scores_of_an_arm_are_the_committed_ones(arm: str) -> None:
    summary = json.loads((ROOT / "metrics" / "summary.json").read_text(encoding="utf-8"))
    means = []
    for metric in ("test_accuracy", "test_balanced_accuracy"):
        scores = [by_arm[arm] for by_arm in summary[metric].values()]
        means.append(f"{100 * sum(scores) / len(scores):.1f} %")
    (row,) = re.findall(rf"^\| {arm}: .*\|$", README, re.MULTILINE)
    assert row.split("|")[2:4] == [f" {mean} " for mean in means]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
