"""The report as plain text, Markdown and one HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from sdaug.common.params import Protocol
from sdaug.verdict.tables import Table

TEMPLATE = Path(__file__).with_name("page.html")


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
    parts = [render_verdict(verdict, limits)]
    for table in tables:
        rule = ["---" if c < table.num_names else "---:" for c in range(len(table.header))]
        lines = ["| " + " | ".join(cells) + " |" for cells in (table.header, rule, *table.rows)]
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def render_verdict(verdict: Sequence[str], limits: Sequence[str]) -> str:
    """The verdict and its limits in Markdown."""
    listed = ("\n".join(f"- {sentence}" for sentence in sentences) for sentences in (verdict, limits))
    question = "# Does augmenting with Stable Diffusion help?"
    return "\n\n".join([question, next(listed), "## What limits the verdict", next(listed)])


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
