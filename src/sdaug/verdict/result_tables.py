"""Tables of the study's results; rows.py has the same numbers for programs, stage_tables.py what other stages found."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sdaug.classify.params import PRIOR_CORRECTED
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.number_formats import number, p_value, percent, percent_within, signed
from sdaug.verdict.published import ROWS, find_published, shows_slides
from sdaug.verdict.results import BASELINE, ESTIMATED, PRIMARY, Contrast, Result, Study
from sdaug.verdict.runs import AT_PRIOR, FURTHER_METRICS, TEST_METRICS, VALIDATION_METRICS
from sdaug.verdict.statistics import CONFIDENCE, MIN_RUNS
from sdaug.verdict.table import Table

CORRECTION_NOTE = (
    f"{PRIOR_CORRECTED} is not trained: the runs of {BASELINE}, their probabilities divided by how common each class "
    "was in training."
)

SCORES = (
    "model", "data set", "runs", "trained on",
    "valid acc", "valid bal acc", "valid F1",
    "test acc", "test bal acc", "test F1",
)  # fmt: skip


def result_tables(inputs: Inputs, siblings: Mapping[str, float] | None) -> list[Table]:
    """All tables of results, the comparison first; `siblings` are the scores of the baseline without pixels.

    The slides' accuracies are shown beside those of their own photos only.
    """
    study = inputs.study
    tables = [comparison_table(study, siblings)]
    if study.contrasts:
        tables.append(difference_table(study))
    tables += [recall_table(study), further_table(study), exposure_table(study)]
    if shows_slides(inputs.params):
        tables.append(published_table(study))
    return [*tables, counts_table(inputs)]


def comparison_table(study: Study, siblings: Mapping[str, float] | None) -> Table:
    """Validation and test scores of every model on every data set, with intervals where there are enough runs.

    Means are over the models on which the verdict rests, as its sentences are.
    """
    rows = [score_cells(result) for result in study.results.values()]
    rows += [_mean_cells(study, dataset) for dataset in study.datasets]
    if siblings is not None:
        known = [percent(siblings[metric]) if metric in siblings else "" for metric in TEST_METRICS]
        rows.append(("labels of the same group", "no pixels", "", "", "", "", "", *known))
    return Table(
        title="Validation and test scores",
        note=f"Percent, mean over the runs. In brackets the {CONFIDENCE:.0%} confidence interval over test images, "
        f"training runs and draws of the generators; there is none with fewer than {MIN_RUNS} runs or draws. "
        f"Mean of {len(study.pooled)}: of the models on which the verdict rests ({', '.join(study.pooled)})."
        + (f" {CORRECTION_NOTE}" if PRIOR_CORRECTED in study.datasets else ""),
        header=SCORES,
        rows=tuple(rows),
    )


def score_cells(result: Result) -> tuple[str, ...]:
    """A row of `SCORES`."""
    scores = [percent(result.scores[metric]) for metric in VALIDATION_METRICS]
    scores += [_score(result, metric) for metric in TEST_METRICS]
    return result.model, result.dataset, str(len(result.runs)), str(result.runs[0].num_train), *scores


def _score(result: Result, metric: str) -> str:
    estimate = result.estimates.get(metric)
    return percent_within(result.scores[metric], estimate.interval if estimate else None)


def _mean_cells(study: Study, dataset: str) -> tuple[str, ...]:
    metrics = (*VALIDATION_METRICS, *TEST_METRICS)
    scores = {m: np.mean([study.results[model, dataset].scores[m] for model in study.pooled]) for m in metrics}
    return f"mean of {len(study.pooled)}", dataset, "", "", *(percent(float(scores[m])) for m in metrics)


def difference_table(study: Study) -> Table:
    """Each arm minus another: for each model, and the mean over the models on which the verdict rests."""
    rows: list[tuple[str, ...]] = []
    for contrast in study.contrasts:
        names = f"{contrast.arm} - {contrast.against}"
        for model, difference in contrast.by_model.items():
            test = difference.test
            cells = (signed(difference.estimates[metric]) for metric in ESTIMATED)
            p_values = (p_value(test.p_value), p_value(difference.corrected_p))
            gain = _validation_gain(study, contrast, [model])
            rows.append((names, model, gain, *cells, f"{test.num_gained}", f"{test.num_lost}", *p_values))
        cells = (signed(contrast.mean[metric]) for metric in ESTIMATED)
        gain = _validation_gain(study, contrast, study.pooled)
        rows.append((names, f"mean of {len(study.pooled)}", gain, *cells, "", "", "", ""))
    return Table(
        title="Differences between arms",
        note=f"Percentage points, paired on the same test images; the mean is over the models with {MIN_RUNS} runs or "
        f"more ({', '.join(study.pooled)}). In brackets the {CONFIDENCE:.0%} confidence interval over test images, "
        f"training runs and draws of the generators, not corrected for the number of models; there is none with fewer "
        f"than {MIN_RUNS} runs or draws. At test prior: predictions for classes as common as in the test set, whatever "
        "their share in training. Gained, lost: test images that only the arm, or only the other, has right with the "
        "first seed. p: how often chance alone would part these two at least as far (McNemar's exact test, which takes "
        "images for independent). Holm p: the same, corrected for the number of models.",
        header=("arms", "model", "valid acc", "test bal acc", "test acc", "acc at test prior", "gained", "lost", "p",
                "Holm p"),
        rows=tuple(rows),
    )  # fmt: skip


def _validation_gain(study: Study, contrast: Contrast, models: Sequence[str]) -> str:
    def score(arm: str) -> float:
        return float(np.mean([study.results[model, arm].scores["validation_accuracy"] for model in models]))

    gain = score(contrast.arm) - score(contrast.against)
    return "" if math.isnan(gain) else f"{100 * gain:+z.1f}"


def pooled_table(study: Study) -> Table:
    """A row for each pair of arms: the mean difference over the pooled models, by metric."""

    def cells(contrast: Contrast) -> tuple[str, ...]:
        primary = contrast.mean[PRIMARY]
        detectable = f"{100 * primary.detectable:.1f}" if primary.is_known else ""
        return f"{contrast.arm} - {contrast.against}", *(signed(contrast.mean[m]) for m in ESTIMATED), detectable

    return Table(
        title="Mean differences between arms",
        note=f"Points on the test set, over the models {', '.join(study.pooled)}; in brackets the {CONFIDENCE:.0%} "
        "confidence interval, where it is known. Detectable: a true effect on balanced accuracy of this size would be "
        "found by four of five such studies.",
        header=("arms", "balanced accuracy", "accuracy", "accuracy at test prior", "detectable"),
        rows=tuple(map(cells, study.answers)),
        num_names=1,
    )


def recall_table(study: Study) -> Table:
    """Recall of every class, with Jeffreys' intervals where there are enough runs."""

    def cell(result: Result, label: str) -> str:
        return percent_within(result.recall[label], result.recall_intervals[label])

    return Table(
        title="Recall per class on the test set",
        note="Percentage of the class's test images that were classified correctly; the header gives their number. In "
        f"brackets the {CONFIDENCE:.0%} confidence interval (Jeffreys') over test images, training runs and draws.",
        header=("model", "data set", *(f"{label} (n={count})" for label, count in study.num_test.items())),
        rows=tuple(
            (result.model, result.dataset, *(cell(result, label) for label in study.classes))
            for result in study.results.values()
        ),
    )


def further_table(study: Study) -> Table:
    """Scores beside the accuracies: at the test set's prior, for ordered classes, and of probabilities."""

    def cells(result: Result) -> tuple[str, ...]:
        kappa, error, auroc, calibration = (result.scores[metric] for metric in FURTHER_METRICS)
        fractions = (percent(value) for value in (auroc, calibration))
        return (
            result.model,
            result.dataset,
            percent(result.scores[AT_PRIOR]),
            number(kappa),
            number(error),
            *fractions,
        )

    return Table(
        title="Further test scores",
        note="Acc at test prior: accuracy, in percent, of predictions for classes as common as in the test set, "
        "whatever their share in training. Kappa (quadratic weights) and the mean absolute error take the classes for "
        "ordered, in steps of one. AUROC: mean over classes of each against the rest, percent. Calibration error: by "
        "how much the probability of the predicted class is off, percent, 15 bins. Means over the runs.",
        header=("model", "data set", "acc at test prior", "kappa", "abs error", "AUROC", "calibration error"),
        rows=tuple(cells(result) for result in study.results.values()),
    )


def exposure_table(study: Study) -> Table:
    """How often training showed images and real photos, by arm: the mean over models and runs."""

    def cells(dataset: str) -> tuple[str, ...]:
        runs = [run for result in study.results.values() if result.dataset == dataset for run in result.runs]
        shown = float(np.mean([sum(run.num_views.values()) for run in runs]))
        real = {label: float(np.mean([run.num_real_views[label] for run in runs])) for label in study.classes}
        share = sum(real.values()) / shown
        return dataset, f"{shown:.0f}", percent(share), *(f"{count:.0f}" for count in real.values())

    return Table(
        title="What training has shown",
        note="Images that a training run has seen, repetitions counted, as the mean over the runs of all models; the "
        "percentage that were real photos; and the real photos of each class.",
        header=("data set", "images shown", "real, %", *(f"real {label}" for label in study.classes)),
        rows=tuple(cells(dataset) for dataset in study.trained),
        num_names=1,
    )


def published_table(study: Study) -> Table:
    """The slides' accuracies beside ours."""

    def ours(model: str, dataset: str) -> tuple[str, str]:
        result = study.results.get((model, dataset))
        if result is None:
            return "", ""
        return percent(result.scores["validation_accuracy"]), percent(result.scores["test_accuracy"])

    rows: list[tuple[str, ...]] = [
        (
            slide.title,
            slide.model,
            slide.arm,
            f"{slide.validation_percent:.2f}",
            f"{slide.test_percent:.2f}",
            *ours(slide.model, slide.arm),
        )
        for slide in ROWS
    ]
    rows += [("", *key, "", "", *ours(*key)) for key in study.results if find_published(*key) is None]
    return Table(
        title="The slides' results beside ours",
        note="Accuracy in percent. Blank: the model is missing from the slides or from this study. The slides used "
        "another split of these photos, so compare the pattern, not the level.",
        header=("slides", "our model", "data set", "slides valid", "slides test", "our valid", "our test"),
        rows=tuple(rows),
        num_names=3,
    )


def counts_table(inputs: Inputs) -> Table:
    """Photos and generated images per class."""
    num_test, photos = inputs.study.num_test, inputs.training

    def cells(label: str) -> tuple[str, ...]:
        num_photos, num_generated = len(photos[label]), len(inputs.generated.get(label, ()))
        return label, *map(str, (num_photos, num_generated, num_photos + num_generated, num_test[label]))

    return Table(
        title="Images per class",
        note="Training photos that generators and classifiers may learn from, and the images that one draw of the "
        "generators adds.",
        header=("class", "training photos", "generated", "total", "test photos"),
        rows=tuple(map(cells, photos)),
        num_names=1,
    )
