"""The report's table on the filter, for studies with an arm that keeps only the best images."""

from collections.abc import Mapping
from typing import Any

from sdaug.verdict.tables import Table


def filter_tables(found: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """The table of `metrics/filter.json`, or none if no arm has a `keep_share` below 1."""
    shares = {name: arm["images"]["keep_share"] for name, arm in arms.items()}
    shares = {name: share for name, share in shares.items() if share < 1}
    if not shares:
        return []
    listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    return [
        Table(
            title="Which images does the filter keep?",
            note=(
                "A judge that was trained on photos that generators may see, and on no others, gives each generated "
                f"image the probability of its class. Arms that keep the best share of each class and draw: {listed}. "
                "Candidates: images of all draws. Recognized: the share that this judge takes for the class. Quarter, "
                "half: the probability that so many images do not reach. The judges of the tables on likeness are "
                "others, which have seen other photos."
            ),
            header=("class", "candidates", "recognized, %", "a quarter below, %", "half below, %", *_kept(shares)),
            rows=tuple(_row(name, figures, shares) for name, figures in found["classes"].items()),
            num_names=1,
        )
    ]


def _kept(shares: Mapping[str, float]) -> list[str]:
    return [f"kept for {name}" for name in shares]


def _row(name: str, figures: Mapping[str, Any], shares: Mapping[str, float]) -> tuple[str, ...]:
    probability = figures["probability"]
    kept = [str(sum(round(share * count) for count in figures["num_of_draw"].values())) for share in shares.values()]
    percents = [figures["recognized"], probability["quarter"], probability["half"]]
    return name, str(figures["num_images"]), *(f"{100 * value:.1f}" for value in percents), *kept
