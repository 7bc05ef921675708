"""The report's table of what the audit found, and what a leak means for the verdict."""

from collections.abc import Mapping
from typing import Any

from sdaug.verdict.tables import Table

NUM_IDS = 5  # shown of each check; the files of metrics have all
TITLES = {
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
    "dropped_copies": "training copies of test photos, dropped",
}


def audit_table(audit: Mapping[str, Any]) -> Table:
    """The table of the checks of both audits, and of the labels that a person should look at."""
    rows = [
        (TITLES[name], check["compared"], check["verdict"], _shown(check["ids"]), str(check["num_found"]))
        for name, check in audit["checks"].items()
    ]
    doubts = audit["label_errors"]
    rows.append(("doubted labels", doubts["compared"], "", _shown(doubts["ids"]), str(doubts["num_found"])))
    return Table(
        title="Is the data sound?",
        note=(
            "What the audits of photos and of images looked for before any classifier was trained. A leak lets a model "
            "score better on test or validation photos than it would on new ones. A warning needs a look, but makes "
            "no score better. "
            f"Doubted labels are for a person to look at{_scores(doubts)}; most of them may be right. "
            "metrics/audit.json and metrics/audit_images.json name all images by file."
        ),
        header=("looked for", "compared", "verdict", "images", "found"),
        rows=tuple(rows),
        num_names=4,
    )


def audit_limits(audit: Mapping[str, Any]) -> list[str]:
    """A sentence for the limits of the verdict if there was a leak and the study went on, else none."""
    leaks = [TITLES[name] for name, check in audit["checks"].items() if check["verdict"] == "leak"]
    if not leaks:
        return []
    return [
        f"The data leaks ({'; '.join(leaks)}). Scores may be better than on new photos. The audit's table has more."
    ]


def photo_limits(prepared: Mapping[str, Any]) -> list[str]:
    """A sentence for the limits of the verdict if `prepare` left out any photos; from metrics/prepare.json."""
    found = {
        "exact copies": prepared.get("duplicates", {}),
        "unreadable photos": prepared.get("broken_of_class", {}),
        "links and the like that are not read": {"": len(prepared.get("unused", []))},
        "folders that are no class": {"": len(prepared.get("left_out", []))},
    }
    said = [
        f"{sum(counts.values())} {what}{_by_part(counts)}" for what, counts in found.items() if any(counts.values())
    ]
    return [f"Of the photos that were given, the study does not use {', '.join(said)}."] if said else []


def _by_part(counts: Mapping[str, int]) -> str:
    """Counts by part and class, such as ` (3 test.score_1, 1 train.score_2)`."""
    named = ", ".join(f"{count} {place}" for place, count in counts.items() if place)
    return f" ({named})" if named else ""


def _shown(ids: list[str]) -> str:
    more = f" and {len(ids) - NUM_IDS} more" if len(ids) > NUM_IDS else ""
    return ", ".join(ids[:NUM_IDS]) + more


def _scores(doubts: Mapping[str, Any]) -> str:
    if doubts.get("precision") is None or doubts.get("recall") is None:
        return ""
    return (
        f" (here the wrong labels are known: {100 * doubts['precision']:.0f} % of the doubted ones are wrong, and "
        f"{100 * doubts['recall']:.0f} % of the {doubts['num_wrong']} wrong ones are doubted)"
    )
