"""All checks of the audit in order, and what is written about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdaug.audit.copies import Look, look_at, shared_detail
from sdaug.audit.duplicates import check_copies, check_dropped, check_synthetic
from sdaug.audit.findings import Check, check_as_json, overall_verdict
from sdaug.audit.label_errors import Doubts, score_doubts
from sdaug.audit.names import check_names
from sdaug.audit.params import AuditParams
from sdaug.audit.seen import Records, check_seen, check_unknown
from sdaug.audit.sides import check_groups, held_out_photos, side_of
from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams

Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the audit looks at: photos with pixels `(N, H, W, 3)`, the file of each id, synthetic images, records."""

    photos: Sequence[Photo]
    images: Images
    files: Mapping[str, str]
    synthetic_ids: Sequence[str]
    synthetic: Images
    records: Records
    prepared: Mapping[str, Any]


def run_checks(evidence: Evidence, *, split: SplitParams, params: AuditParams) -> list[Check]:
    """All checks, those of what may fail the run before those of what may not."""
    photos, images = evidence.photos, evidence.images
    look = look_at(images)
    held_out = held_out_photos(photos, split)
    hidden_ids = {photo.id for photo in held_out}
    hidden = np.array([photo.id in hidden_ids for photo in photos])
    return [
        check_groups(photos, split),
        *check_copies(photos, images, look, split=split, params=params),
        check_seen(evidence.records, photos, split),
        check_synthetic(
            evidence.synthetic_ids,
            evidence.synthetic,
            held_out,
            Look(hashes=look.hashes[:, hidden], detail=look.detail[hidden]),
            shared=shared_detail(look),
            split=split,
            params=params,
        ),
        *check_all_names(photos, evidence.files, params),
        check_unknown(evidence.records, photos),
        check_dropped(evidence.prepared),
    ]


def check_all_names(photos: Sequence[Photo], files: Mapping[str, str], params: AuditParams) -> list[Check]:
    """Labels in what a loader sees (a leak), and in the names of the files (a warning).

    `prepare` gives every photo an id made of its pixels, and packed data sets carry only these ids and the groups. So
    a label in a file name cannot reach a classifier here; it can in any other program that is given the same folder.
    """
    labels = [photo.label for photo in photos]
    groups = [photo.group for photo in photos]
    carried = [f"{photo.id} {photo.group}" for photo in photos]
    file_names = [PurePosixPath(files[photo.id]).name for photo in photos]
    skill = {"name_skill": params.name_skill}
    return [
        check_names(carried, labels, groups, check="labels_in_ids", kind="ids and groups", severity="leak", **skill),
        check_names(
            file_names, labels, groups, check="labels_in_file_names", kind="file names", severity="warning", **skill
        ),
    ]


def audit_as_json(
    checks: Sequence[Check], evidence: Evidence, split: SplitParams, params: AuditParams
) -> dict[str, Any]:
    """Verdict, counts and checks for metrics/audit.json."""
    sides = [side_of(photo, split) for photo in evidence.photos]
    return {
        "verdict": overall_verdict(checks),
        "on_leak": params.on_leak,
        "num_photos": {side: sides.count(side) for side in sorted(set(sides))},
        "num_synthetic": len(evidence.synthetic_ids),
        "checks": {check.name: check_as_json(check, evidence.files) for check in checks},
    }


def doubts_as_json(
    doubts: Doubts,
    photos: Sequence[Photo],
    files: Mapping[str, str],
    classes: Sequence[str],
    truth: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Doubted labels of training photos for metrics/audit.json; `truth` has the true class of each id where known."""
    doubted = [photos[index] for index in doubts.indices]
    pairs = zip(doubted, doubts.guesses, strict=True)
    found = {
        "compared": f"labels of {len(photos)} training photos with the out-of-fold probabilities of a small classifier",
        "accuracy_of_classifier": doubts.accuracy,
        "num_found": len(doubted),
        "ids": [photo.id for photo in doubted],
        "details": [f"{files[photo.id]}: labelled {photo.label}, looks like {classes[k]}" for photo, k in pairs],
    }
    if truth is None:
        return found
    chosen = {photo.id for photo in doubted}
    wrong = [truth[photo.id] != photo.label for photo in photos]
    return found | score_doubts([photo.id in chosen for photo in photos], wrong)
