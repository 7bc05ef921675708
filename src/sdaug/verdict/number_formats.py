"""Numbers as readers see them: percent, points with their interval, p values and counts of things."""

import math

from sdaug.verdict.statistics import Estimate, Interval


def percent(fraction: float | None, *, unknown: str = "") -> str:
    """A fraction in percent, or `unknown`."""
    return unknown if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f}"


def number(value: float | None, *, unknown: str = "") -> str:
    """A number with two decimals, or `unknown`."""
    return unknown if value is None or math.isnan(value) else f"{value:.2f}"


def percent_within(value: float, interval: Interval | None) -> str:
    """A share in percent, with its interval if that is known."""
    if interval is None:
        return percent(value)
    # A t interval of a share can reach over its ends.
    return f"{percent(value)} ({percent(max(0.0, interval.low))}-{percent(min(1.0, interval.high))})"


def signed(estimate: Estimate) -> str:
    """A difference in points, with its interval if that is known."""
    value = f"{100 * estimate.value:+z.1f}"
    if estimate.interval is None:
        return value
    return f"{value} ({100 * estimate.interval.low:+z.1f} to {100 * estimate.interval.high:+z.1f})"


def p_value(value: float) -> str:
    """A p value, which is never zero."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def plural(count: int, noun: str) -> str:
    """A count and its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
