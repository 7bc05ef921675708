"""All checks of the audit in order, and what is written about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdaug.audit.duplicates import check_copies, check_dropped, check_synthetic
from sdaug.audit.file_names import check_names
from sdaug.audit.findings import Check, verdict_as_json
from sdaug.audit.generator_records import Records, check_choosers, check_seen, check_unknown
from sdaug.audit.params import AuditParams
from sdaug.audit.sides import check_groups, side_of
from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams
from sdaug.common.photo_copies import PhotoCopy

Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PhotoEvidence:
    """What the audit of photos looks at: photos with pixels `(N, H, W, 3)`, the file of each id, and their copies.

    `prepared` is what `prepare` reports; `flips` names the settings that mirror photos.
    """

    photos: Sequence[Photo]
    images: Images
    files: Mapping[str, str]
    copies: Sequence[PhotoCopy]
    prepared: Mapping[str, Any]
    flips: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ImageEvidence:
    """What the audit of images looks at: synthetic images, what their generators saw, and all photos.

    `choosers` are the photos that chose the step of a generator, for those that have such.
    """

    photos: Sequence[Photo]
    images: Images
    synthetic_ids: Sequence[str]
    synthetic: Images
    records: Records
    choosers: Records = field(default_factory=dict)


def check_photos(evidence: PhotoEvidence, *, split: SplitParams, params: AuditParams) -> list[Check]:
    """The checks that need no generator, those of what may fail the run before those of what may not."""
    photos = evidence.photos
    return [
        check_groups(photos, split),
        *check_copies(photos, evidence.images, evidence.copies, split=split, flips=evidence.flips),
        *check_all_names(photos, evidence.files, params),
        check_dropped(evidence.prepared),
    ]


def check_images(evidence: ImageEvidence, *, split: SplitParams, params: AuditParams) -> list[Check]:
    """The checks of generators and their images."""
    photos = evidence.photos
    return [
        check_seen(evidence.records, photos, split),
        check_synthetic(
            evidence.synthetic_ids, evidence.synthetic, photos, evidence.images, split=split, params=params
        ),
        check_unknown(evidence.records, photos),
        *([check_choosers(evidence.choosers, photos, split)] if evidence.choosers else []),
    ]


def check_all_names(photos: Sequence[Photo], files: Mapping[str, str], params: AuditParams) -> list[Check]:
    """Labels in what a loader sees (a leak), and in the names of the files (a warning).

    `prepare` gives every photo an id made of its bytes, and packed data sets carry only these ids and the groups. So
    a label in a file name cannot reach a classifier here; it can in any other program that is given the same folder.
    """
    labels = [photo.label for photo in photos]
    groups = [photo.group for photo in photos]
    carried = [f"{photo.id} {photo.group}" for photo in photos]
    file_names = [PurePosixPath(files[photo.id]).name for photo in photos]
    return [
        check_names(
            carried,
            labels,
            groups,
            check="labels_in_ids",
            kind="ids and groups",
            severity="leak",
            way_out="choose another prepare.group_pattern or prepare.groups, whose groups are not classes",
            name_skill=params.name_skill,
        ),
        check_names(
            file_names,
            labels,
            groups,
            check="labels_in_file_names",
            kind="file names",
            severity="warning",
            name_skill=params.name_skill,
        ),
    ]


def audit_as_json(
    checks: Sequence[Check], evidence: PhotoEvidence, split: SplitParams, params: AuditParams
) -> dict[str, Any]:
    """Verdict, counts and checks for metrics/audit.json."""
    sides = [side_of(photo, split) for photo in evidence.photos]
    num_photos = {side: sides.count(side) for side in sorted(set(sides))}
    return {**verdict_as_json(checks, evidence.files, params.on_leak), "num_photos": num_photos}
