"""Progress of long loops: a bar on a terminal, an occasional line in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_SECONDS = 15.0


def progress(items: Iterable[T], *, title: str, total: int, unit: str = "step", unit_scale: int = 1) -> Iterator[T]:
    """Yield `items` and report progress, rate and time left; each item counts as `unit_scale` units."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=title, total=total, unit=unit, unit_scale=unit_scale, dynamic_ncols=True)
        return
    # Not a terminal: a line every `LOG_SECONDS`, and one at the end.
    begin = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said > LOG_SECONDS or done == total:
            rate = done * unit_scale / max(now - begin, 1e-9)
            left = (total - done) * unit_scale / max(rate, 1e-9)
            print(f"{title}: {done}/{total}, {rate:.1f} {unit}/s, {left:.0f} s left", file=sys.stderr, flush=True)
            said = now
