"""Names, prompts and tables in Markdown, whatever characters people gave them."""

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\`*_\[\]<>#$])")


def plain(text: str) -> str:
    """Text on one line in which nothing is markup."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as code on one line, between more backticks than it has in a row."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown themselves."""
    rule = ["---"] * len(header)
    lines = (header, rule, *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)
