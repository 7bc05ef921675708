"""The text of the report: its tables as plain text, Markdown and CSV rows, its sentences, and the HTML page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from sdaug.common.params import Protocol
from sdaug.verdict.published import ROWS, find_published
from sdaug.verdict.summary import BASELINE, METRICS, TREATED, Interval, Result, Study

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
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
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
    if study.differences:
        tables.append(_difference_table(study))
    return [*tables, _published_table(study), _counts_table(counts)]


def _comparison_table(study: Study) -> Table:
    def cells(result: Result) -> tuple[str, ...]:
        numbers = []
        for metric in METRICS:
            interval = result.intervals.get(metric)
            span = f" ({_percent(interval.low)}-{_percent(interval.high)})" if interval else ""
            numbers.append(_percent(result.scores[metric]) + span)
        return result.model, result.dataset, str(result.runs[0].num_train), *numbers

    return Table(
        title="Validation and test scores",
        note=f"Percent, mean of {_plural(len(study.seeds), 'seed')}; 95 % confidence intervals in brackets.",
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
    def cells(name: str, validation: float, intervals: Mapping[str, Interval]) -> tuple[str, ...]:
        gain = "" if math.isnan(validation) else f"{100 * validation:+z.1f}"
        return name, gain, *(_signed(interval) for interval in intervals.values())

    gains = {
        model: study.results[model, TREATED].scores["validation_accuracy"]
        - study.results[model, BASELINE].scores["validation_accuracy"]
        for model in study.differences
    }
    mean = cells("mean of models", sum(gains.values()) / len(gains), study.mean_difference)
    return Table(
        title="Augmented minus original",
        note="Percentage points, paired on the same test images; 95 % confidence intervals in brackets, not corrected "
        "for the number of models. The interval of the mean also covers variation between training runs.",
        header=("model", "valid acc", "test acc", "test bal acc"),
        rows=(*(cells(model, gains[model], study.differences[model]) for model in study.differences), mean),
        num_names=1,
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
    """The finding in one sentence per test score, or why there is none."""
    if not study.differences:
        return [f"No verdict: it needs data sets {BASELINE} and {TREATED}; this study has {', '.join(study.datasets)}."]
    sentences = []
    for metric, interval in study.mean_difference.items():
        name = metric.removeprefix("test_").replace("_", " ")
        sentences.append(
            f"Over {_plural(len(study.models), 'model')}, training with generated images changed test {name} by "
            f"{100 * interval.value:+z.1f} percentage points on average (95 % confidence interval "
            f"{100 * interval.low:+z.1f} to {100 * interval.high:+z.1f}): {_effect(interval)}."
        )
    return sentences


def find_limits(
    study: Study,
    *,
    protocol: Protocol,
    sibling_accuracy: float | None,
    selection: str,
    num_validation: Mapping[str, int],
) -> list[str]:
    """What limits the verdict, one sentence each; `num_validation` counts the real validation photos per class."""
    num_groups, num_images = len(set(study.test.groups)), len(study.test.ids)
    seeds = "one training seed" if len(study.seeds) == 1 else f"{len(study.seeds)} training seeds, averaged"
    limits = [
        f"A first look: one split of the photos and {seeds}. The intervals cover the choice of test images (bootstrap "
        f"over {num_groups} groups with {num_images} images in all); that of the mean difference also covers variation "
        f"between training runs (bootstrap over {_plural(len(study.models) * len(study.seeds), 'pair')} of runs). None "
        "covers variation between generators or splits.",
        f"{_weight_of_one(study.num_test, 'test image')}.",
    ]
    if selection == "balanced_accuracy" and any(num_validation.values()):
        limits.append(f"{_weight_of_one(num_validation, 'validation image')}, which selects the epoch to keep.")
    if study.mean_difference:
        # Two-sided 5 % test at 80 % power: 1.96 + 0.84 standard errors.
        seen = 2.8 * study.mean_difference["test_accuracy"].standard_error
        limits.append(
            f"The smallest true mean change in accuracy that this study would detect four times out of five is about "
            f"{100 * seen:.1f} points."
        )
    if set(study.datasets) == {BASELINE, TREATED}:
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


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested metrics as a flat mapping with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


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


def _effect(interval: Interval) -> str:
    if interval.low > 0:
        return "it helped"
    return "it hurt" if interval.high < 0 else "no effect that this study could detect"


def _percent(fraction: float) -> str:
    return "" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _signed(interval: Interval) -> str:
    return f"{100 * interval.value:+z.1f} ({100 * interval.low:+z.1f} to {100 * interval.high:+z.1f})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
