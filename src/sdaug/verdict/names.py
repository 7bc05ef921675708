"""Classes by the names that people gave them: what readers see, where files for programs keep the ids."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from sdaug.verdict.external_summary import External
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.letters import Check, Prepared
from sdaug.verdict.results import Result, Study

V = TypeVar("V")
OF_CLASS = re.compile(r"(\d+ of (?:\w+\.)?)(\w+)")  # in a finding of the audit: 3 of train.score_1


def with_names(inputs: Inputs, *, is_shown: Callable[[str], bool] = lambda _: True) -> Inputs:
    """The inputs with the name of each class in place of its id, where `is_shown`; the settings keep both."""
    names = {label: name for label, name in shown_names(inputs).items() if is_shown(name)}
    if not names:
        return inputs
    return replace(
        inputs,
        study=_named_study(inputs.study, names),
        transductive=inputs.transductive and _named_study(inputs.transductive, names),
        photos=[replace(photo, label=names.get(photo.label, photo.label)) for photo in inputs.photos],
        generated=_by_name(inputs.generated, names),
        imported=[(replace(i, label=names.get(i.label, i.label)), path) for i, path in inputs.imported],
        examples=_by_name(inputs.examples, names),
        closest=_by_name(inputs.closest, names),
        prepare=_named_counts(inputs.prepare, names),
        audit=replace(inputs.audit, checks=_named_checks(inputs.audit.checks, names)),
        fidelity=replace(inputs.fidelity, classes=_by_name(inputs.fidelity.classes, names)),
        external=_named_external(inputs.external, names),
        filter=replace(inputs.filter, classes=_by_name(inputs.filter.classes, names)),
    )


def shown_names(inputs: Inputs) -> dict[str, str]:
    """Names by id; two classes that would read the same keep their ids beside them."""
    given = inputs.setting("prepare", "class_names") or {}
    shown = [given.get(label, label) for label in inputs.study.classes]
    return {
        label: name if shown.count(name) == 1 else f"{name} ({label})"
        for label, name in zip(inputs.study.classes, shown, strict=True)
        if name != label
    }


def _by_name(by_class: Mapping[str, V], names: Mapping[str, str]) -> dict[str, V]:
    return {names.get(label, label): value for label, value in by_class.items()}


def _named_counts(prepared: Prepared, names: Mapping[str, str]) -> Prepared:
    """What `prepare` counts by part and class (`train.score_1`), or by class alone."""

    def named(counts: Mapping[str, int]) -> dict[str, int]:
        parted = ((*key.rpartition("."), count) for key, count in counts.items())
        return {part + dot + names.get(label, label): count for part, dot, label, count in parted}

    lines = (line.partition(":") for line in prepared.unread)  # such as `score_1: 3 .txt`
    return replace(
        prepared,
        num_photos=named(prepared.num_photos),
        duplicates=named(prepared.duplicates),
        broken_of_class=named(prepared.broken_of_class),
        unread=[names.get(label, label) + colon + rest for label, colon, rest in lines],
    )


def _named_external(external: External, names: Mapping[str, str]) -> External:
    return replace(
        external,
        sources={
            name: replace(found, num_images=_by_name(found.num_images, names))
            for name, found in external.sources.items()
        },
        used={arm: replace(use, num_images=_by_name(use.num_images, names)) for arm, use in external.used.items()},
    )


def _named_checks(checks: Mapping[str, Check], names: Mapping[str, str]) -> Mapping[str, Check]:
    dropped = "dropped_copies"
    if dropped not in checks:
        return checks
    compared = OF_CLASS.sub(lambda found: found[1] + names.get(found[2], found[2]), checks[dropped].compared)
    return {**checks, dropped: replace(checks[dropped], compared=compared)}


def _named_study(study: Study, names: Mapping[str, str]) -> Study:
    return replace(
        study,
        classes=tuple(names.get(label, label) for label in study.classes),
        results={key: _named_result(result, names) for key, result in study.results.items()},
    )


def _named_result(result: Result, names: Mapping[str, str]) -> Result:
    runs = tuple(
        replace(run, num_views=_by_name(run.num_views, names), num_real_views=_by_name(run.num_real_views, names))
        for run in result.runs
    )
    return replace(
        result,
        runs=runs,
        recall=_by_name(result.recall, names),
        recall_intervals=_by_name(result.recall_intervals, names),
    )
