"""What the audit reports: checks with their findings, the verdict over all, and the form they are written in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sdaug.audit.params import OnLeak

Verdict = Literal["ok", "warning", "leak"]
VERDICTS: tuple[Verdict, ...] = ("ok", "warning", "leak")  # from harmless to bad
NUM_NAMED = 3  # findings in an error message that could list hundreds


class Finding(NamedTuple):
    """The images of one finding, and what is wrong with them."""

    ids: tuple[str, ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: what it compared, what it found, how bad any finding is, and the setting or command that helps."""

    name: str
    compared: str
    severity: Verdict
    findings: tuple[Finding, ...] = ()
    way_out: str = ""

    @property
    def verdict(self) -> Verdict:
        return self.severity if self.findings else "ok"

    @property
    def ids(self) -> list[str]:
        """The images of all findings, each once, sorted."""
        return sorted({image_id for finding in self.findings for image_id in finding.ids})


def overall_verdict(checks: Iterable[Check]) -> Verdict:
    """The worst verdict of all checks."""
    return max((check.verdict for check in checks), key=VERDICTS.index, default="ok")


def check_as_json(check: Check, files: Mapping[str, str]) -> dict[str, Any]:
    """One check in a file of metrics; `files` has the file of each photo's id."""
    return {
        "compared": check.compared,
        "verdict": check.verdict,
        "num_found": len(check.findings),
        "ids": check.ids,
        "details": [describe(finding, files) for finding in check.findings],
    }


def describe(finding: Finding, files: Mapping[str, str]) -> str:
    """A finding in one line, its images by file name where there is one."""
    names = [files.get(image_id, image_id) for image_id in finding.ids]
    return f"{', '.join(names)}: {finding.note}" if names else finding.note


def leak_message(checks: Sequence[Check], files: Mapping[str, str], *, listed_in: str) -> str:
    """The error of a run with leaks: the first findings of each and its way out, in one line."""
    parts = []
    for check in checks:
        if check.verdict == "leak":
            named = "; ".join(describe(finding, files) for finding in check.findings[:NUM_NAMED])
            more = f"; and {len(check.findings) - NUM_NAMED} more" if len(check.findings) > NUM_NAMED else ""
            parts.append(f"{check.name}: {named}{more}{f': {check.way_out}' if check.way_out else ''}")
    return (
        f"audit: {' | '.join(parts)} | or set audit.on_leak: report to go on and have the report say so; {listed_in} "
        "lists all"
    )


def verdict_as_json(checks: Sequence[Check], files: Mapping[str, str], on_leak: OnLeak) -> dict[str, Any]:
    """The verdict and all checks, as both audits write them."""
    return {
        "verdict": overall_verdict(checks),
        "on_leak": on_leak,
        "checks": {check.name: check_as_json(check, files) for check in checks},
    }
