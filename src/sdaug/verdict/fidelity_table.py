"""The report's tables on whether generated images look like their class, and whether they copy training photos."""

from collections.abc import Mapping
from typing import Any

from sdaug.verdict.tables import Table

NAMES = {"photos": "photos", "before": "base", "after": "generators"}
SCORES = ("precision", "recall", "density", "coverage")


def fidelity_tables(fidelity: Mapping[str, Any]) -> list[Table]:
    """The tables of `metrics/fidelity.json`: judges, distances and copies."""
    by_class = fidelity["classes"]
    return [_judge_table(by_class), _distance_table(by_class), _copy_table(by_class, fidelity["copies"]["found"])]


def _judge_table(by_class: Mapping[str, Any]) -> Table:
    def cells(label: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
        judge = figures["judge"]
        of_draws = [share for share in judge["share_of_draw"].values() if share is not None]
        span = f"{_percent(min(of_draws))} to {_percent(max(of_draws))}" if of_draws else "-"
        shares, probabilities = ([_percent(judge[key][kind]) for kind in NAMES] for key in ("share", "probability"))
        return label, str(figures["num_photos"]), str(figures["num_images"]), *shares, span, *probabilities

    return Table(
        title="Do generated images look like their class?",
        note=(
            "Judges are classifiers trained on real photos that no generator saw (validation and test); none judges a "
            "photo that it was trained on. Recognized: the share that judges take for the class. Photos: real photos "
            "of the class; generated images can hardly do better. Base: images of the base model before DreamBooth, "
            "with the class's prompt. Draws: the worst and the best generator of the class. Probability: how sure "
            "judges are of the class, on average. A dash: no judge can tell, since all photos of the class are of one "
            "group. Do not choose settings by this table: it uses the test photos, whose scores would then be too good."
        ),
        header=(
            "class", "photos", "images",
            *(f"recognized, % {name}" for name in NAMES.values()), "draws, %",
            *(f"probability, % {name}" for name in NAMES.values()),
        ),
        rows=tuple(cells(label, figures) for label, figures in by_class.items()),
        num_names=1,
    )  # fmt: skip


def _distance_table(by_class: Mapping[str, Any]) -> Table:
    def cells(label: str, kind: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
        low, high = figures["kernel_distance_low"], figures["kernel_distance_high"]
        span = "" if low is None else f" ({low:.2f} to {high:.2f})"
        scores = [_percent(figures[name]) for name in SCORES]
        return label, NAMES[kind], str(figures["num_images"]), _number(figures["kernel_distance"]) + span, *scores

    return Table(
        title="How far are generated images from photos?",
        note=(
            "Compared with the class's photos that no generator saw, in features of an ImageNet network, all photos as "
            "soft as the VAE returns them. Photos: the class's training photos; good images come as near as they do. "
            "Kernel distance: how far all images together are from the photos, about 0 if they cannot be told apart "
            "(in brackets its 95 % interval over photos and images). It is not KID, whose features are Inception's: do "
            "not compare the two. Precision: the share of images that lie among the photos. "
            "Recall: the share of photos that lie among the images. "
            "Density: how many photos an image lies near, 100 for new photos. Coverage: the share of photos with an "
            "image nearby. Not measured with fewer than 30 photos or images."
        ),
        header=("class", "images of", "number", "kernel distance", *(f"{name}, %" for name in SCORES)),
        rows=tuple(
            cells(label, kind, figures["distances"][kind]) for label, figures in by_class.items() for kind in NAMES
        ),
    )


def _copy_table(by_class: Mapping[str, Any], found: Mapping[str, float]) -> Table:
    ways = ", ".join(f"{name} {_percent(share)} %" for name, share in found.items())
    return Table(
        title="Are generated images copies of training photos?",
        note=(
            "An image counts as a copy if it is much nearer to one training photo than to the next ones: more so than "
            "99 of 100 photos that no generator saw. Copies: the share of generated images that count. New photos: the "
            "share of photos that count though they are no copies: false alarms, about 1. Planted copies: the share "
            f"that is found of training photos altered a little and passed through the VAE ({ways}). "
            "Smallest ratio: the distance to the nearest "
            "training photo over the mean distance to the next ten, for the most suspect image; a perfect copy has 0. "
            "The closest pairs are in metrics/closest_pairs.csv."
        ),
        header=("class", "images", "copies, %", "new photos, %", "planted copies found, %", "smallest ratio"),
        rows=tuple(
            (
                label,
                str(figures["num_images"]),
                *(_percent(figures["copies"]["share"][kind]) for kind in ("after", "photos", "planted")),
                _number(figures["copies"]["smallest_ratio"]),
            )
            for label, figures in by_class.items()
        ),
        num_names=1,
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
