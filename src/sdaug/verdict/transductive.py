"""Classifiers that saw the test photos without labels: their tables and what is said of them, apart from all others."""

from collections.abc import Mapping
from typing import Any

from sdaug.verdict.number_formats import signed
from sdaug.verdict.result_tables import SCORES, score_cells
from sdaug.verdict.results import BASELINE, PRIMARY, Contrast, Study, estimate_gains
from sdaug.verdict.statistics import CONFIDENCE, MIN_RUNS, Estimate
from sdaug.verdict.summary import summarize, summarize_estimate
from sdaug.verdict.table import Table

METRICS = (PRIMARY, "test_accuracy")
Gains = dict[str, dict[str, dict[str, Estimate]]]  # by model, arm and metric


def transductive_tables(study: Study | None, plain: Study, twins: Mapping[str, str]) -> tuple[Table, ...]:
    """Scores, what they are above plain training, and differences between arms; none without such classifiers.

    `twins` names the classifier of the study `plain` that a transductive one is compared with.
    """
    if study is None:
        return ()
    gains, contrasts = gains_over_plain(study, plain, twins), _contrasts(study)
    further = ((_gain_table(gains, twins),) if gains else ()) + ((_difference_table(contrasts),) if contrasts else ())
    return _score_table(study), *further


def gains_over_plain(study: Study, plain: Study, twins: Mapping[str, str]) -> Gains:
    """What each transductive classifier scores above its plain twin, trained on the same arm with the same seeds."""
    return {
        model: {
            arm: estimate_gains(study.results[model, arm].runs, plain.results[twins[model], arm].runs)
            for arm in study.trained
        }
        for model in study.models
        if model in twins
    }


def sentence_of(study: Study | None) -> str:
    """Which classifiers saw the test photos, and what does not rest on them; empty without any."""
    if study is None:
        return ""
    return (
        f"{', '.join(study.models)}: transductive (SCTL-style). They learned from the test photos, too, without their "
        "labels. Their scores are of these very photos and not of new ones, stand in tables of their own, and count "
        "for no verdict, mean or interval of the others."
    )


def transductive_summary(study: Study | None, plain: Study, twins: Mapping[str, str]) -> dict[str, Any]:
    """For metrics/summary.json: scores of arms that are trained, and what they are above those of plain training."""
    if study is None:
        return {}
    found = summarize(study)
    scores = {
        metric: {model: {arm: by_arm[arm] for arm in study.trained} for model, by_arm in found[metric].items()}
        for metric in found
        if metric.startswith(("test_balanced", "test_accuracy", "test_macro", "validation_"))
    }
    gains = {
        model: {arm: {metric: summarize_estimate(found[metric]) for metric in METRICS} for arm, found in by_arm.items()}
        for model, by_arm in gains_over_plain(study, plain, twins).items()
    }
    return {"transductive": scores | ({"above_plain": gains} if gains else {})}


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


def _gain_table(gains: Gains, twins: Mapping[str, str]) -> Table:
    return Table(
        title="Transductive above plain training",
        note="Percentage points on the test photos: a classifier that saw them without labels, minus one with the same "
        f"settings that did not, on the same arm with the same seeds. In brackets the {CONFIDENCE:.0%} confidence "
        "interval, where it is known.",
        header=("models", "data set", "test bal acc", "test acc"),
        rows=tuple(
            (f"{model} - {twins[model]}", arm, *(signed(found[metric]) for metric in METRICS))
            for model, by_arm in gains.items()
            for arm, found in by_arm.items()
        ),
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
