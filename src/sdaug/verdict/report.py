"""The folder of the report: tables, verdict, pictures and the page."""

from pathlib import Path

from sdaug.common.files import fresh_dir, write_csv, write_text
from sdaug.verdict import pictures, rows
from sdaug.verdict.decide import Verdict
from sdaug.verdict.dose import find_doses
from sdaug.verdict.fonts import is_drawable
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.names import shown_names, with_names
from sdaug.verdict.page import Picture, build_page, render_page
from sdaug.verdict.published import shows_slides
from sdaug.verdict.render import render_markdown, render_text, render_verdict
from sdaug.verdict.thumbnails import data_uri


def write_report(target: Path, inputs: Inputs, verdict: Verdict) -> None:
    """Write the whole folder, or nothing; what programs read has the ids of classes.

    Raises:
        FileNotFoundError: a photo is missing.
    """
    with fresh_dir(target) as out:
        write_text(out / "comparison.txt", render_text(verdict))
        write_text(out / "comparison.md", render_markdown(verdict))
        write_text(out / "verdict.md", render_verdict(verdict))
        _write_rows(out, inputs)
        shots = _draw_pictures(out, inputs)
        write_text(out / "index.html", render_page(build_page(verdict, with_names(inputs), shots)))


def _write_rows(out: Path, inputs: Inputs) -> None:
    study = inputs.study
    write_csv(out / "comparison.csv", rows.comparison_rows(study, is_slides=shows_slides(inputs.params)))
    if study.contrasts:
        write_csv(out / "differences.csv", rows.difference_rows(study))
    write_csv(out / "confusion.csv", rows.confusion_rows(study))
    if inputs.transductive:
        write_csv(out / "transductive.csv", rows.comparison_rows(inputs.transductive, is_slides=False))


def _draw_pictures(out: Path, inputs: Inputs) -> dict[str, Picture]:
    """Write all pictures; returns them as the page holds them, by file name.

    They show the id of a class if no font has the letters of its name, for which the page has the reader's fonts.
    """
    undrawn = {label: name for label, name in shown_names(inputs).items() if not is_drawable(name)}
    drawn = with_names(inputs, is_shown=is_drawable)
    doses = find_doses(drawn.arms)
    pictures.draw_all(
        out,
        drawn.study,
        photos=drawn.training,
        generated=drawn.generated,
        examples=drawn.examples,
        doses=doses,
    )
    return {
        file: Picture(uri=data_uri(out / file), caption=caption)
        for file, caption in pictures.captions(doses, undrawn).items()
    }
