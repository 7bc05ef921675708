"""The text of the report: its tables as plain text, Markdown and CSV rows, its sentences, and the HTML page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from sdaug.common.params import Protocol
from sdaug.verdict.published import ROWS, find_published
from sdaug.verdict.statistics import MIN_RUNS, Estimate
from sdaug.verdict.summary import BASELINE, METRICS, Contrast, Result, Study

MIN_VALIDATION = 5  # photos of a class: with fewer, one photo is 25 points and more of what selects an epoch
TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of formatted cells; the first `num_names` columns are names, the others numbers."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 2


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Images per class: training photos, generated images and test photos."""

    photos: Mapping[str, int]
    generated: Mapping[str, int]
    test: Mapping[str, int]


def comparison_rows(study: Study) -> list[dict[str, Any]]:
    """One row per model and data set with every number of the report as a fraction; missing values are blank."""
    rows = []
    for result in study.results.values():
        row: dict[str, Any] = {
            "model": result.model,
            "dataset": result.dataset,
            "num_seeds": len(result.runs),
            "num_train": result.runs[0].num_train,
            "num_validation": result.runs[0].num_validation,
            **{metric: "" if math.isnan(value) else value for metric, value in result.scores.items()},
        }
        for name, interval in result.intervals.items():
            low, high = (interval.low, interval.high) if interval.is_known else ("", "")
            row |= {f"{name}_low": low, f"{name}_high": high}
        row |= {f"recall_{label}": "" if math.isnan(value) else value for label, value in result.recall.items()}
        slide = find_published(result.model, result.dataset)
        row["published_validation_accuracy"] = slide.validation_percent / 100 if slide else ""
        row["published_test_accuracy"] = slide.test_percent / 100 if slide else ""
        rows.append(row)
    return rows


def confusion_rows(study: Study) -> list[dict[str, str]]:
    """One row per test image and run, in the format of the confusion templates of `dvc plots`."""
    return [
        {"actual": study.classes[actual], "predicted": study.classes[predicted], "run": run.name}
        for result in study.results.values()
        for run in result.runs
        for actual, predicted in zip(study.test.labels, run.predicted, strict=True)
    ]


def build_tables(study: Study, counts: Counts) -> list[Table]:
    """All tables of the report, the comparison first."""
    tables = [_comparison_table(study), _recall_table(study)]
    if study.contrasts:
        tables.append(_difference_table(study))
    return [*tables, _published_table(study), _counts_table(counts)]


def _comparison_table(study: Study) -> Table:
    def cells(result: Result) -> tuple[str, ...]:
        numbers = []
        for metric in METRICS:
            interval = result.intervals.get(metric)
            is_known = interval is not None and interval.is_known
            span = f" ({_percent(interval.low)}-{_percent(interval.high)})" if interval and is_known else ""
            numbers.append(_percent(result.scores[metric]) + span)
        return result.model, result.dataset, str(result.runs[0].num_train), *numbers

    return Table(
        title="Validation and test scores",
        note=f"Percent, mean of {_plural(len(study.seeds), 'seed')}; in brackets the 95 % confidence interval of these "
        "trained models over the choice of test images.",
        header=(
            "model", "data set", "trained on",
            "valid acc", "valid bal acc", "valid F1",
            "test acc", "test bal acc", "test F1",
        ),
        rows=tuple(cells(result) for result in study.results.values()),
    )  # fmt: skip


def _recall_table(study: Study) -> Table:
    return Table(
        title="Recall per class on the test set",
        note="Percentage of the class's test images that were classified correctly; the header gives their number.",
        header=("model", "data set", *(f"{label} (n={count})" for label, count in study.num_test.items())),
        rows=tuple(
            (result.model, result.dataset, *map(_percent, result.recall.values())) for result in study.results.values()
        ),
    )


def _difference_table(study: Study) -> Table:
    def validation_gain(model: str, arm: str) -> float:
        treated, baseline = study.results[model, arm], study.results[model, BASELINE]
        return treated.scores["validation_accuracy"] - baseline.scores["validation_accuracy"]

    def cells(contrast: Contrast, name: str, gain: float, estimates: Mapping[str, Estimate]) -> tuple[str, ...]:
        validation = "" if math.isnan(gain) else f"{100 * gain:+z.1f}"
        shown = (_signed(estimate, has_interval=not contrast.uses_generators) for estimate in estimates.values())
        return contrast.arm, name, validation, *shown

    rows = []
    for contrast in study.contrasts:
        gains = {model: validation_gain(model, contrast.arm) for model in study.models}
        rows += [cells(contrast, model, gains[model], contrast.by_model[model]) for model in study.models]
        rows.append(cells(contrast, "mean of models", sum(gains.values()) / len(gains), contrast.mean))
    return Table(
        title=f"Differences from {BASELINE}",
        note="Percentage points, paired on the same test images. In brackets the 95 % confidence interval over test "
        f"images and training runs, not corrected for the number of models; there is none with fewer than {MIN_RUNS} "
        "training runs per model, nor for arms with generated images, whose generators are drawn once.",
        header=("arm", "model", "valid acc", "test bal acc", "test acc"),
        rows=tuple(rows),
    )


def _published_table(study: Study) -> Table:
    def ours(model: str, dataset: str) -> tuple[str, str]:
        result = study.results.get((model, dataset))
        if result is None:
            return "", ""
        return _percent(result.scores["validation_accuracy"]), _percent(result.scores["test_accuracy"])

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
        "different photos, unless this study was run on them, so compare the pattern, not the level.",
        header=("slides", "our model", "data set", "slides valid", "slides test", "our valid", "our test"),
        rows=tuple(rows),
        num_names=3,
    )


def _counts_table(counts: Counts) -> Table:
    def cells(label: str) -> tuple[str, ...]:
        photos, generated = counts.photos[label], counts.generated.get(label, 0)
        return label, *map(str, (photos, generated, photos + generated, counts.test[label]))

    return Table(
        title="Images per class",
        note="Training photos that generators and classifiers may learn from, and the images generated from them.",
        header=("class", "training photos", "generated", "total", "test photos"),
        rows=tuple(cells(label) for label in counts.photos),
        num_names=1,
    )


def find_verdict(study: Study) -> list[str]:
    """The finding on each arm in one sentence, by balanced accuracy on the test set, or why there is none."""
    if not study.contrasts:
        return [
            f"No verdict: it needs the data set {BASELINE} and another; this study has {', '.join(study.datasets)}."
        ]
    return [_verdict_on(contrast, study) for contrast in study.contrasts]


def _verdict_on(contrast: Contrast, study: Study) -> str:
    balanced, plain = contrast.mean["test_balanced_accuracy"], contrast.mean["test_accuracy"]
    has_interval = balanced.is_known and not contrast.uses_generators
    return (
        f"{contrast.arm}: over {_plural(len(study.models), 'model')}, balanced accuracy on the test set changed by "
        f"{_signed(balanced, has_interval=has_interval)} points against {BASELINE} (accuracy by "
        f"{_signed(plain, has_interval=has_interval)}): {_effect(contrast, len(study.seeds))}."
    )


def _effect(contrast: Contrast, num_seeds: int) -> str:
    """helped, hurt, no effect as large as the interval's wider side, or undecided and why."""
    estimate = contrast.mean["test_balanced_accuracy"]
    reasons = [f"{_plural(num_seeds, 'training run')} per model, of {MIN_RUNS} needed"] * (num_seeds < MIN_RUNS)
    reasons += ["the generators were drawn once, so that their luck is not known"] * contrast.uses_generators
    if not reasons and not estimate.is_known:
        reasons = ["a class has test photos of one group only"]
    if reasons:
        return f"undecided ({'; '.join(reasons)})"
    if estimate.low > 0:
        return "it helped"
    if estimate.high < 0:
        return "it hurt"
    return f"no effect as large as {100 * max(-estimate.low, estimate.high):.1f} points"


def find_limits(
    study: Study,
    *,
    protocol: Protocol,
    sibling_accuracy: float | None,
    selection: str,
    num_validation: Mapping[str, int],
    training: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """What limits the verdict, one sentence each.

    `num_validation` counts the real validation photos per class; `training` is what each arm says of training.
    """
    num_groups, num_images = len(set(study.test.groups)), len(study.test.ids)
    seeds = "one training seed" if len(study.seeds) == 1 else f"{len(study.seeds)} training seeds, averaged"
    limits = [
        f"One split of the photos and {seeds}. Test scores come from {num_images} images in {num_groups} groups. No "
        "interval covers the choice of the split, or the luck of the generators, which are drawn once.",
        f"{_weight_of_one(study.num_test, 'test image')}.",
    ]
    fewest = min((count for count in num_validation.values() if count), default=MIN_VALIDATION)
    if selection in ("balanced_accuracy", "macro_f1") and fewest < MIN_VALIDATION:
        limits.append(
            f"{_weight_of_one(num_validation, 'validation image')}, which selects the epoch to keep: select by loss."
        )
    limits += [
        f"The smallest true effect of {contrast.arm} on balanced accuracy that this study would detect four times out "
        f"of five is {100 * contrast.mean['test_balanced_accuracy'].detectable:.1f} points."
        for contrast in study.contrasts
        if contrast.mean["test_balanced_accuracy"].is_known and not contrast.uses_generators
    ]
    for arm, settings in training.items():
        if arm != BASELINE and BASELINE in training and settings != training[BASELINE]:
            limits.append(
                f"{arm} differs from {BASELINE} in training, too: {_differing(settings, training[BASELINE])}."
            )
    if study.contrasts and all(contrast.uses_generators for contrast in study.contrasts):
        limits.append("Compared with no augmentation, not with simple remedies such as class weights or oversampling.")
    if protocol == "published":
        limits.append(
            "Validation scores say little: their images come from the pool that the generators learned from. Only test "
            "scores can be compared."
        )
    if sibling_accuracy is not None:
        limits.append(
            f"Test photos share groups with training photos. Guessing the most common label among the training photos "
            f"of the same group, without looking at a pixel, scores {_percent(sibling_accuracy)} % test accuracy: "
            "compare the models with that."
        )
    return limits


def _differing(settings: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """The training settings in which two arms differ, as `loss: focal instead of none`."""
    keys = [key for key in {**settings, **baseline} if settings.get(key) != baseline.get(key)]
    return ", ".join(f"{key} {settings.get(key, 'plain')} instead of {baseline.get(key, 'plain')}" for key in keys)


def _weight_of_one(counts: Mapping[str, int], unit: str) -> str:
    """How much one image of the rarest class weighs in balanced accuracy, as a sentence."""
    present = {label: count for label, count in counts.items() if count}
    rarest = min(present, key=lambda label: present[label])
    fewest = present[rarest]
    return (
        f"{rarest} has {_plural(fewest, unit)}: a single image is worth {100 / fewest:.1f} points of its "
        f"recall and {100 / fewest / len(present):.1f} points of balanced accuracy"
    )


def describe_protocol(protocol: Protocol) -> str:
    """How training, validation and test images were kept apart, in one sentence."""
    if protocol == "clean":
        return (
            "clean: the generators saw only the training folds; validation images are real photos that no generator "
            "saw, and no group of photos is on both sides of a split."
        )
    return (
        "published (as in the slides): the generators saw every training photo, and real and generated images were "
        "pooled and split at random into training and validation. The test set contains real photos only."
    )


def render_text(table: Table) -> str:
    """The table as aligned columns for a terminal."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[c]) for line in lines) for c in range(len(table.header))]

    def align(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if c < table.num_names else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([f"{table.title}. {table.note}", "", *map(align, lines)])


def render_markdown(tables: Sequence[Table], *, verdict: Sequence[str], limits: Sequence[str]) -> str:
    """The verdict, its limits and all tables in Markdown."""
    parts = ["# Comparison", " ".join(verdict), "\n".join(f"- {limit}" for limit in limits)]
    for table in tables:
        rule = ["---" if c < table.num_names else "---:" for c in range(len(table.header))]
        lines = ["| " + " | ".join(cells) + " |" for cells in (table.header, rule, *table.rows)]
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def render_page(tables: Sequence[Table], **values: Any) -> str:
    """The report as one HTML page that refers to pictures in its own folder; `values` fill the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(tables=tables, **values) + "\n"


def _percent(fraction: float) -> str:
    return "" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _signed(estimate: Estimate, *, has_interval: bool) -> str:
    value = f"{100 * estimate.value:+z.1f}"
    if not (has_interval and estimate.is_known):
        return value
    return f"{value} ({100 * estimate.low:+z.1f} to {100 * estimate.high:+z.1f})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
