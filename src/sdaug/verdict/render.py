"""The verdict as plain text and in Markdown; page.py has it as HTML."""

from sdaug.verdict.decide import Verdict


def render_text(verdict: Verdict) -> str:
    """The table of scores and the verdict, for a terminal; then transductive classifiers, if there are any."""
    apart = [table.as_text() for table in verdict.transductive]
    return "\n\n".join([verdict.tables[0].as_text(), *verdict.sentences, *apart]) + "\n"


def render_verdict(verdict: Verdict) -> str:
    """The verdict, the differences that it rests on if there are any, and its limits, in Markdown."""
    return "\n\n".join(_sections(verdict)) + "\n"


def render_markdown(verdict: Verdict) -> str:
    """The same, and all tables."""
    tables = [table.as_markdown() for table in (*verdict.tables, *verdict.transductive, verdict.audit)]
    return "\n\n".join([*_sections(verdict), *tables]) + "\n"


def _sections(verdict: Verdict) -> list[str]:
    said, limits = ("\n".join(f"- {line}" for line in lines) for lines in (verdict.sentences, verdict.limits))
    pooled = [verdict.pooled.as_markdown()] if verdict.pooled else []
    return ["# Does augmenting with Stable Diffusion help?", said, *pooled, "## What limits the verdict", limits]
