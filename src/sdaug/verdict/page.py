"""The report as plain text, Markdown and one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from sdaug.common.params import Protocol
from sdaug.verdict.checklist import Item
from sdaug.verdict.closest import Pair
from sdaug.verdict.mistakes import Mistakes
from sdaug.verdict.results import Study
from sdaug.verdict.sentences import Finding
from sdaug.verdict.tables import Table
from sdaug.verdict.thumbnails import Gallery

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture inside the page: its data URI and caption."""

    uri: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page shows.

    `pictures` are looked up by file name. `photos` are the thumbnails of `mistakes` by id; `closest` and `audit` are
    left out if they are empty, and so is `exchange`, what a generated image is worth. `settings` is params.yaml,
    `metrics` the figures of earlier stages by name.
    """

    study: Study
    findings: Sequence[Finding]
    limits: Sequence[str]
    protocol: str
    pictures: Mapping[str, Picture]
    galleries: Sequence[Gallery]
    tables: Sequence[Table]
    mistakes: Mistakes
    photos: Mapping[str, str]
    closest: Mapping[str, Sequence[Pair]]
    settings: str
    metrics: Mapping[str, Any]
    checklist: Sequence[Item]
    audit: Sequence[Table] = ()
    exchange: str = ""

    @property
    def sections(self) -> dict[str, str]:
        """The title of each section by its id, in the order of the page."""
        titles = {
            "verdict": "Verdict",
            "limits": "What it cannot show",
            "images": "Images",
            "dose": "Dose and response" if "dose.png" in self.pictures else "",
            "scores": "Scores",
            "confusion": "Confusion",
            "curves": "Training curves",
            "closest": "Closest pairs" if self.closest else "",
            "mistakes": "Mistakes",
            "audit": "Audit" if self.audit else "",
            "settings": "Settings",
            "checklist": "Checklist",
        }
        return {name: title for name, title in titles.items() if title}


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


def render_markdown(
    tables: Sequence[Table], *, verdict: Sequence[str], limits: Sequence[str], pooled: Table | None
) -> str:
    """The verdict, its limits and all tables in Markdown."""
    return "\n\n".join([render_verdict(verdict, limits, pooled), *map(_markdown_table, tables)]) + "\n"


def render_verdict(verdict: Sequence[str], limits: Sequence[str], pooled: Table | None) -> str:
    """The verdict, the differences that it rests on if there are any, and its limits in Markdown."""
    listed = ("\n".join(f"- {sentence}" for sentence in sentences) for sentences in (verdict, limits))
    parts = ["# Does augmenting with Stable Diffusion help?", next(listed)]
    if pooled is not None:
        parts.append(_markdown_table(pooled))
    return "\n\n".join([*parts, "## What limits the verdict", next(listed)])


def _markdown_table(table: Table) -> str:
    rule = ["---" if c < table.num_names else "---:" for c in range(len(table.header))]
    lines = ["| " + " | ".join(cells) + " |" for cells in (table.header, rule, *table.rows)]
    return "\n\n".join([f"## {table.title}", table.note, "\n".join(lines)])


def render_page(page: Page) -> str:
    """The report as one HTML page that needs no other file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(page=page) + "\n"
