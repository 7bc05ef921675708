"""The folder of the report: tables, verdict, pictures and the page, from what earlier stages have found."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from sdaug.common.files import fresh_dir, write_csv, write_text
from sdaug.common.manifest import count_labels, name_test_set, validation_photos
from sdaug.common.tracking import flatten
from sdaug.verdict import page, pictures, rows, sentences, tables
from sdaug.verdict.audit_table import audit_limits, audit_table, photo_limits
from sdaug.verdict.checklist import Facts, Item, build_checklist
from sdaug.verdict.dose import find_doses
from sdaug.verdict.exchange import find_exchange
from sdaug.verdict.fidelity_table import fidelity_tables
from sdaug.verdict.filter_table import filter_tables
from sdaug.verdict.fonts import is_drawable
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.mistakes import find_mistakes
from sdaug.verdict.names import shown_names, with_names
from sdaug.verdict.pooled import pooled_table
from sdaug.verdict.published import shows_slides
from sdaug.verdict.siblings import sibling_scores
from sdaug.verdict.thumbnails import build_galleries, data_uri, thumbnail


def write_report(target: Path, inputs: Inputs) -> str:
    """Write the whole report; returns the table of scores and the verdict as plain text."""
    measured = inputs.study  # files for programs keep the ids of classes
    test_set = name_test_set(inputs.photos)  # depends on ids
    raw, inputs = inputs, with_names(inputs)
    study, siblings = inputs.study, sibling_scores(inputs.photos, inputs.study.classes)
    shown, audited = _build_tables(inputs, siblings), [audit_table(inputs.audit)]
    exchange = find_exchange(study, inputs.arms)
    verdict = [*sentences.find_verdict(study), *([exchange.sentence] if exchange else [])]
    limits = [*_find_limits(inputs, siblings), _test_set_limit(inputs, test_set)]
    pooled = pooled_table(study) if study.contrasts else None
    text = "\n\n".join([page.render_text(shown[0]), *verdict]) + "\n"
    with fresh_dir(target) as out:
        write_text(out / "comparison.txt", text)
        write_csv(out / "comparison.csv", rows.comparison_rows(measured, is_slides=shows_slides(inputs.params)))
        if study.contrasts:
            write_csv(out / "differences.csv", rows.difference_rows(study))
        write_csv(out / "confusion.csv", rows.confusion_rows(measured))
        markdown = page.render_markdown([*shown, *audited], verdict=verdict, limits=limits, pooled=pooled)
        write_text(out / "comparison.md", markdown)
        write_text(out / "verdict.md", page.render_verdict(verdict, limits, pooled) + "\n")
        shots = _draw_pictures(out, raw)
        content = _build_page(inputs, pictures=shots, tables=shown, limits=limits, audited=audited)
        content = replace(content, exchange=exchange.sentence if exchange else "")
        write_text(out / "index.html", page.render_page(content))
    return text


def _build_tables(inputs: Inputs, siblings: Mapping[str, float] | None) -> list[tables.Table]:
    counts = tables.Counts(
        photos={label: len(paths) for label, paths in inputs.training.items()},
        generated={label: len(paths) for label, paths in inputs.generated.items()},
        test=inputs.study.num_test,
    )
    return [
        *tables.build_tables(inputs.study, counts, siblings, is_slides=shows_slides(inputs.params)),
        *fidelity_tables(inputs.fidelity),
        *filter_tables(inputs.filter, inputs.arms),
    ]


def _find_limits(inputs: Inputs, siblings: Mapping[str, float] | None) -> list[str]:
    split = inputs.split
    # A published study validates on a random part of all images, which the manifest does not know.
    validating = validation_photos(inputs.photos, fold=split.fold) if split.protocol == "clean" else []
    limits = sentences.find_limits(
        inputs.study,
        base=inputs.base.sentence,
        protocol=split.protocol,
        siblings=siblings,
        selection=inputs.selection,
        num_validation=count_labels(validating, inputs.study.classes),
        training={name: arm["training"] for name, arm in inputs.arms.items()},
    )
    return limits + photo_limits(inputs.prepare) + audit_limits(inputs.audit)


def _test_set_limit(inputs: Inputs, name: str) -> str:
    """With which other revisions of the study this one can be compared."""
    return (
        f"The test set is {name} ({sum(inputs.study.num_test.values())} photos). Scores can be compared with "
        "those of another revision only if it has the same test set: `sdaug compare REVISION` tells."
    )


def _draw_pictures(out: Path, inputs: Inputs) -> dict[str, page.Picture]:
    """Write all pictures; returns them as the page holds them, by file name.

    They show the id of a class if no font has the letters of its name, for which the page has the reader's fonts.
    """
    undrawn = {label: name for label, name in shown_names(inputs).items() if not is_drawable(name)}
    inputs = with_names(inputs, is_shown=is_drawable)
    doses = find_doses(inputs.arms)
    pictures.draw_all(
        out,
        inputs.study,
        photos=inputs.training,
        generated=inputs.generated,
        examples=inputs.examples,
        doses=doses,
    )
    return {
        file: page.Picture(uri=data_uri(out / file), caption=caption)
        for file, caption in pictures.captions(doses, undrawn).items()
    }


def _build_page(
    inputs: Inputs,
    *,
    pictures: Mapping[str, page.Picture],
    tables: list[tables.Table],
    limits: list[str],
    audited: list[tables.Table],
) -> page.Page:
    mistakes = find_mistakes(inputs.study)
    return page.Page(
        study=inputs.study,
        findings=sentences.find_findings(inputs.study),
        limits=limits,
        protocol=page.describe_protocol(inputs.split.protocol),
        pictures=pictures,
        galleries=build_galleries(inputs.training, inputs.generated),
        tables=tables,
        mistakes=mistakes,
        photos=_thumbnails(inputs, mistakes.ids),
        closest=inputs.closest,
        settings=yaml.safe_dump(inputs.params, sort_keys=False, allow_unicode=True),
        metrics=flatten({"prepare": inputs.prepare, "vae": inputs.fidelity["vae"]}),
        checklist=_checklist(inputs),
        audit=audited,
    )


def _thumbnails(inputs: Inputs, ids: set[str]) -> dict[str, str]:
    """Small versions of these test photos, by id."""
    found = {}
    for photo_id in sorted(ids):
        path = inputs.photo_files.get(photo_id)
        if path is None or not path.is_file():
            raise FileNotFoundError(f"{path or photo_id}: missing; run `dvc repro prepare`")
        found[photo_id] = thumbnail(path)
    return found


def _checklist(inputs: Inputs) -> list[Item]:
    facts = Facts(
        params=inputs.params,
        split=inputs.split,
        photos=inputs.photos,
        prepare=inputs.prepare,
        audit=inputs.audit,
        study=inputs.study,
        base=inputs.base,
    )
    return build_checklist(facts)
