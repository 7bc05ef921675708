"""The text `parameters` as AUTOMATIC1111's web UI writes it, in its parts.

The prompt, a line `Negative prompt: ...` if there is one, and a line of `Key: value` pairs; a value with a comma, a
colon or a line break is quoted as in JSON. The form is specified nowhere but in that program.
"""

import json
import re
from typing import NamedTuple

NEGATIVE = "Negative prompt:"
MIN_PAIRS = 3  # a last line with fewer is part of the prompt, unless it begins with the steps
STEPS = re.compile(r"Steps: \d+(,|$)")
PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


class Parts(NamedTuple):
    """The prompt and the negative prompt, which may have several lines, and the values of the last line by key."""

    prompt: str
    negative_prompt: str
    pairs: dict[str, str]


def split_parameters(text: str) -> Parts:
    """The parts of a text; those that it lacks are empty."""
    lines = [line.strip() for line in text.strip().splitlines()]
    pairs = PAIR.findall(lines[-1]) if lines else []
    if lines and (len(pairs) >= MIN_PAIRS or STEPS.match(lines[-1])):
        lines.pop()
    else:
        pairs = []
    first = next((place for place, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[first:]).removeprefix(NEGATIVE).strip()
    return Parts("\n".join(lines[:first]), negative, {key.strip(): _unquote(value.strip()) for key, value in pairs})


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text
