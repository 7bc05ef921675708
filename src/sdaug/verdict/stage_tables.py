"""Tables of what other stages found: whether the data is sound, whether images look like their class, what is kept."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sdaug.verdict.letters import Check, Distance, Doubts, Fidelity, Filter, Filtered, JudgeFigures, Likeness
from sdaug.verdict.number_formats import number, percent
from sdaug.verdict.table import Table

NUM_IDS = 5  # shown of each check; the files of metrics have all
CHECKS = {
    "groups": "groups on two sides of a split",
    "exact_copies": "exact copies on two sides of a split",
    "near_copies": "near copies on two sides of a split",
    "labels_of_copies": "copies with two labels",
    "mirrored_classes": "classes that are mirrored photos of each other",
    "seen_photos": "held-out photos that a generator saw",
    "synthetic_copies": "synthetic copies of held-out photos",
    "labels_in_ids": "labels in ids and groups",
    "labels_in_file_names": "labels in file names",
    "unknown_photos": "photos of generators that the study does not have",
    "choosing_photos": "held-out photos that chose the step of a generator",
    "dropped_copies": "training copies of test photos, dropped",
}
KINDS = ("photos", "base", "generators")  # as `photos`, `before` and `after` are called here

_percent, _number = partial(percent, unknown="-"), partial(number, unknown="-")


def audit_table(checks: Mapping[str, Check], doubts: Doubts, remark: str = "") -> Table:
    """The checks of both audits, and the labels that a person should look at; `remark` is on what they do not check."""
    rows: list[tuple[str, ...]] = [
        (CHECKS[name], check.compared, check.verdict, _shown(check.ids), str(check.num_found))
        for name, check in checks.items()
    ]
    rows.append(("doubted labels", doubts.compared, "", _shown(doubts.ids), str(doubts.num_found)))
    return Table(
        title="Is the data sound?",
        note=(
            "What the audits of photos and of images looked for before any classifier was trained. A leak lets a model "
            "score better on test or validation photos than it would on new ones. A warning needs a look, but makes "
            "no score better. "
            f"Doubted labels are for a person to look at{_scores(doubts)}; most of them may be right. "
            "metrics/audit.json and metrics/audit_images.json name all images by file."
            + (f" {remark}" if remark else "")
        ),
        header=("looked for", "compared", "verdict", "images", "found"),
        rows=tuple(rows),
        num_names=4,
    )


def _shown(ids: list[str]) -> str:
    more = f" and {len(ids) - NUM_IDS} more" if len(ids) > NUM_IDS else ""
    return ", ".join(ids[:NUM_IDS]) + more


def _scores(doubts: Doubts) -> str:
    if doubts.precision is None or doubts.recall is None:
        return ""
    return (
        f" (here the wrong labels are known: {100 * doubts.precision:.0f} % of the doubted ones are wrong, and "
        f"{100 * doubts.recall:.0f} % of the {doubts.num_wrong} wrong ones are doubted)"
    )


def fidelity_tables(fidelity: Fidelity) -> list[Table]:
    """Judges, distances and copies."""
    by_class = fidelity.classes
    return [_judge_table(by_class), _distance_table(by_class), _copy_table(by_class, fidelity.copies.found)]


def _judge_table(by_class: Mapping[str, Likeness]) -> Table:
    def by_kind(figures: JudgeFigures) -> list[str]:
        return [_percent(figure) for figure in (figures.photos, figures.before, figures.after)]

    def cells(label: str, found: Likeness) -> tuple[str, ...]:
        of_draws = [share for share in found.judge.share_of_draw.values() if share is not None]
        span = f"{_percent(min(of_draws))} to {_percent(max(of_draws))}" if of_draws else "-"
        numbers = (str(found.num_photos), str(found.num_images))
        return label, *numbers, *by_kind(found.judge.share), span, *by_kind(found.judge.probability)

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
            *(f"recognized, % {name}" for name in KINDS), "draws, %",
            *(f"probability, % {name}" for name in KINDS),
        ),
        rows=tuple(cells(label, found) for label, found in by_class.items()),
        num_names=1,
    )  # fmt: skip


def _distance_table(by_class: Mapping[str, Likeness]) -> Table:
    def cells(label: str, kind: str, found: Distance) -> tuple[str, ...]:
        span = f" ({found.interval.low:.2f} to {found.interval.high:.2f})" if found.interval else ""
        scores = map(_percent, (found.precision, found.recall, found.density, found.coverage))
        return label, kind, str(found.num_images), _number(found.kernel_distance) + span, *scores

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
        header=(
            "class", "images of", "number", "kernel distance", "precision, %", "recall, %", "density, %", "coverage, %",
        ),
        rows=tuple(
            cells(label, kind, distance)
            for label, found in by_class.items()
            for kind, distance in zip(
                KINDS, (found.distances.photos, found.distances.before, found.distances.after), strict=True
            )
        ),
    )  # fmt: skip


def _copy_table(by_class: Mapping[str, Likeness], found: Mapping[str, float]) -> Table:
    def cells(label: str, likeness: Likeness) -> tuple[str, ...]:
        share = likeness.copies.share
        shares = map(_percent, (share.after, share.photos, share.planted))
        return label, str(likeness.num_images), *shares, _number(likeness.copies.smallest_ratio)

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
        rows=tuple(cells(label, likeness) for label, likeness in by_class.items()),
        num_names=1,
    )


def filter_tables(letter: Filter, arms: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """What the filter keeps, or no table if no arm has a `keep_share` below 1; `arms` is the section `datasets`."""
    shares = {name: arm["images"]["keep_share"] for name, arm in arms.items()}
    shares = {name: share for name, share in shares.items() if share < 1}
    if not shares:
        return []

    def cells(label: str, found: Filtered) -> tuple[str, ...]:
        kept = [str(sum(round(share * count) for count in found.num_of_draw.values())) for share in shares.values()]
        percents = map(percent, (found.recognized, found.probability.quarter, found.probability.half))
        return label, str(found.num_images), *percents, *kept

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
            header=(
                "class", "candidates", "recognized, %", "a quarter below, %", "half below, %",
                *(f"kept for {name}" for name in shares),
            ),
            rows=tuple(cells(label, found) for label, found in letter.classes.items()),
            num_names=1,
        )
    ]  # fmt: skip
