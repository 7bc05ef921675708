"""Classifiers that saw the test photos without labels: their tables and what is said of them, apart from all others."""

from typing import Any

from sdaug.verdict.number_formats import signed
from sdaug.verdict.result_tables import SCORES, score_cells
from sdaug.verdict.results import BASELINE, PRIMARY, Contrast, Study
from sdaug.verdict.statistics import CONFIDENCE, MIN_RUNS
from sdaug.verdict.summary import summarize
from sdaug.verdict.table import Table

METRICS = (PRIMARY, "test_accuracy")


def transductive_tables(study: Study | None) -> tuple[Table, ...]:
    """Scores, and differences between arms if there are several; none without such classifiers."""
    if study is None:
        return ()
    contrasts = _contrasts(study)
    return _score_table(study), *((_difference_table(contrasts),) if contrasts else ())


def sentence_of(study: Study | None) -> str:
    """Which classifiers saw the test photos, and what does not rest on them; empty without any."""
    if study is None:
        return ""
    return (
        f"{', '.join(study.models)}: transductive (SCTL-style). They learned from the test photos, too, without their "
        "labels. Their scores are of these very photos and not of new ones, stand in tables of their own, and count "
        "for no verdict, mean or interval of the others."
    )


def transductive_summary(study: Study | None) -> dict[str, Any]:
    """For metrics/summary.json: scores of arms that are trained, and their differences from the baseline."""
    if study is None:
        return {}
    found = summarize(study)
    scores = {
        metric: {model: {arm: by_arm[arm] for arm in study.trained} for model, by_arm in found[metric].items()}
        for metric in found
        if metric.startswith(("test_balanced", "test_accuracy", "test_macro", "validation_"))
    }
    return {"transductive": scores}


def _score_table(study: Study) -> Table:
    rows = [score_cells(result) for result in study.results.values() if result.dataset in study.trained]
    return Table(
        title="Transductive classifiers",
        note="SCTL-style training (after doi 10.3390/ani12070886): these classifiers learned from the test photos as "
        "well, without their labels. Not to be compared with the other tables, whose classifiers saw no test photo. "
        f"Percent, mean over the runs; in brackets the {CONFIDENCE:.0%} confidence interval over test images, training "
        f"runs and draws of the generators, where there are {MIN_RUNS} runs and draws.",
        header=SCORES,
        rows=tuple(rows),
    )


def _difference_table(contrasts: list[Contrast]) -> Table:
    return Table(
        title="Differences between arms, of transductive classifiers",
        note="Percentage points on the test photos, which these classifiers saw without labels; each with itself on "
        f"the other arm. In brackets the {CONFIDENCE:.0%} confidence interval, where it is known.",
        header=("arms", "model", "test bal acc", "test acc"),
        rows=tuple(
            (f"{contrast.arm} - {contrast.against}", model, *(signed(difference.estimates[m]) for m in METRICS))
            for contrast in contrasts
            for model, difference in contrast.by_model.items()
        ),
    )


def _contrasts(study: Study) -> list[Contrast]:
    """Those between arms that are trained: what a class counted for in a loss with pseudo labels is not known."""
    return [found for found in study.contrasts if found.against == BASELINE and found.arm in study.trained]
