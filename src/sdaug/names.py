"""Names: those that become parts of stages and paths, and those of number formats."""

import re
from typing import Literal

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
NAME = re.compile(r"[a-z0-9_]+")


def check_name(name: str, *, where: str) -> str:
    """Names of classes, models and data sets share stage names, where a dash or a dot would make two names collide."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{where}.{name}: {name!r}; need a name of a-z, 0-9 and _ only; rename it (and its folder)")
    return name
