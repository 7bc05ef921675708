"""The one form of all tables for readers, for a terminal and in Markdown; table.html beside it has the HTML.

tabulate and pandas widen columns, pad Markdown and add classes of their own, so that neither gives these bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of formatted cells; the first `num_names` columns are names, the others numbers."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 2

    def as_text(self) -> str:
        """As aligned columns for a terminal: names to the left, numbers to the right."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[c]) for line in lines) for c in range(len(self.header))]

        def align(line: Sequence[str]) -> str:
            cells = [
                cell.ljust(width) if c < self.num_names else cell.rjust(width)
                for c, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        return "\n".join([f"{self.title}. {self.note}", "", *map(align, lines)])

    def as_markdown(self) -> str:
        """Under a heading of the second level."""
        rule = ["---" if c < self.num_names else "---:" for c in range(len(self.header))]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.header, rule, *self.rows)]
        return "\n\n".join([f"## {self.title}", self.note, "\n".join(lines)])
