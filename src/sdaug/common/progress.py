"""Progress of long loops: a bar on a terminal, an occasional line in a log file, or whatever a listener makes of it."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_SECONDS = 15.0
# Called with the title, the units done and those in all, before the first item and after each; in place of the bar.
listener: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("listener", default=None)


def progress(items: Iterable[T], *, title: str, total: int, unit: str = "step", unit_scale: int = 1) -> Iterator[T]:
    """Yield `items` and report progress, rate and time left; each item counts as `unit_scale` units."""
    hear = listener.get()
    if hear is not None:
        hear(title, 0, total * unit_scale)
        for done, item in enumerate(items, start=1):
            yield item
            hear(title, done * unit_scale, total * unit_scale)
        return
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
