"""The figures that pages quote, from metrics/, report/ and benchmarks/results.csv: `python tests/figures.py --write`.

A page has blocks between `<!-- figures: NAME -->` and `<!-- end of figures -->`. Without `--write` this names the pages
whose blocks are stale.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from sdaug.common.files import read_csv
from sdaug.common.provenance import read_seen
from sdaug.verdict.statistics import MIN_RUNS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)
ARMS = {
    "original": "photos alone",
    "oversampled": "rare photos repeated, a simple remedy",
    "prior_corrected": "predictions of `original` corrected for how common each class was, a remedy that costs nothing",
    "augmented": "filled up with generated images",
}


def answer() -> str:
    """One sentence: what the verdict says of generated images, against each arm that it compares them with."""
    parts = []
    for line in _verdict_lines():
        found = re.match(r"- augmented against (\w+): (.*?)\. Over .* on the test set changed by (.*?) points", line)
        if found:
            against = "photos alone" if found[1] == "original" else f"`{found[1]}`, the best remedy without images"
            parts.append(f"against {against}, **{found[2]}**: {found[3]} points of balanced accuracy")
    return f"Generated images {'; '.join(parts)}."


def scores() -> str:
    """A table of the arms: means over the models of the verdict, those with enough runs, or all if none has."""
    rows = read_csv(ROOT / "report" / "comparison.csv")
    pooled = [row for row in rows if int(row["num_seeds"]) >= MIN_RUNS] or rows
    models = list(dict.fromkeys(row["model"] for row in pooled))
    num_test = sum(json.loads((ROOT / "metrics" / "summary.json").read_text(encoding="utf-8"))["num_test"].values())

    def mean(metric: str, arm: str) -> str:
        return f"{100 * fmean(float(row[metric]) for row in pooled if row['dataset'] == arm):.1f} %"

    lines = [
        f"Means over {len(models)} models ({', '.join(models)}), those on which the verdict rests, on {num_test} test "
        "photos:\n",
        "| arm | test accuracy | balanced accuracy |",
        "|---|---|---|",
        *(
            f"| {arm}: {what} | {mean('test_accuracy', arm)} | {mean('test_balanced_accuracy', arm)} |"
            for arm, what in ARMS.items()
        ),
    ]
    return "\n".join(lines)


def verdict() -> str:
    """The sentences of report/verdict.md on each pair of arms, as they are there."""
    return "\n".join(line for line in _verdict_lines() if line.startswith("- "))


def at_prior() -> str:
    """How much of the gain in accuracy is left where predictions are corrected for how common each class is."""
    (row,) = [line for line in _verdict_lines(1) if line.startswith("| augmented - original |")]
    _, _, _, plain, corrected, *_ = (cell.strip() for cell in row.split("|"))
    return (
        "Models that train on balanced classes predict rare scores more often, which alone changes accuracy. With all\n"
        "predictions corrected for how common each score is in the test set, which takes no image at all, the\n"
        f"difference of augmented from original in accuracy is {corrected} points instead of {plain}."
    )


def _verdict_lines(part: int = 0) -> list[str]:
    text = (ROOT / "report" / "verdict.md").read_text(encoding="utf-8")
    return text.split("\n## ")[part].splitlines()


def base() -> str:
    """What the base has seen."""
    return read_seen(ROOT / "metrics" / "seen.json").sentence


def judged() -> str:
    """Generated images by class, before and after DreamBooth: as judges see them, their distance, and copies."""
    classes = json.loads((ROOT / "metrics" / "fidelity.json").read_text(encoding="utf-8"))["classes"]
    rows = [
        "| class | judged: photos | base | DreamBooth | distance: base | DreamBooth | copies |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, found in classes.items():
        share = found["judge"]["share"]
        cells = [f"{100 * share[which]:.0f} %" for which in ("photos", "before", "after")]
        cells += [_distance(found["distances"][which]) for which in ("before", "after")]
        rows.append(f"| {label} | {' | '.join(cells)} | {100 * found['copies']['share']['after']:.1f} % |")
    return "\n".join(rows)


def _distance(found: dict[str, float | None]) -> str:
    value, low, high = (found[f"kernel_distance{end}"] for end in ("", "_low", "_high"))
    return "-" if value is None else f"{value:.2f} ({low:.2f} to {high:.2f})"


def benchmarks() -> str:
    """A table for each benchmark: a line per case, machine, commit and date, a column per measure."""
    tables: dict[str, dict[tuple[str, ...], dict[str, str]]] = {}
    for row in read_csv(ROOT / "benchmarks" / "results.csv"):
        line = (row["case"], row["machine"], row["commit"], row["date"])
        measure = row["measure"] + (", %" if row["unit"] == "%" else "")  # other units are the end of the name
        tables.setdefault(row["benchmark"], {}).setdefault(line, {})[measure] = f"{float(row['value']):g}"
    return "\n\n".join(f"### {name}\n\n{_table(lines)}" for name, lines in tables.items())


def _table(lines: dict[tuple[str, ...], dict[str, str]]) -> str:
    measures = list(dict.fromkeys(measure for found in lines.values() for measure in found))
    rows = [["case", *measures, "machine", "commit", "date"], ["---"] * (4 + len(measures))]
    for (case, *rest), found in lines.items():
        rows.append([case, *(found.get(measure, "") for measure in measures), *rest])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "answer": answer,
    "scores": scores,
    "verdict": verdict,
    "at_prior": at_prior,
    "base": base,
    "judged": judged,
    "benchmarks": benchmarks,
}


def fill(text: str) -> str:
    """The text of a page with its blocks made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{BLOCKS[block[2]]()}\n\n{block[4]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="fill in the blocks")
    is_writing = parser.parse_args().write
    stale = [page for page in PAGES if fill(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    for page in stale if is_writing else []:
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    print(*(f"{'written' if is_writing else 'stale'}: {page.relative_to(ROOT)}" for page in stale), sep="\n")
    sys.exit(bool(stale) and not is_writing)


if __name__ == "__main__":
    main()
