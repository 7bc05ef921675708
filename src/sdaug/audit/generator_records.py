"""What the generators saw: their records of photos, held against the manifest."""

from collections.abc import Mapping, Sequence

from sdaug.audit.findings import Check, Finding
from sdaug.audit.sides import held_out_photos, side_of
from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams
from sdaug.common.provenance import SeenPhoto

Records = Mapping[str, Sequence[SeenPhoto]]


def check_seen(records: Records, photos: Sequence[Photo], split: SplitParams) -> Check:
    """Held-out photos that a generator, or the base, was trained on; `records` has the photos of each."""
    hidden = held_out_photos(photos, split)
    # By either: a photo keeps its id when its file is saved again, and its hash when it is cropped in another way.
    by_key = {key: photo for photo in hidden for key in (photo.id, photo.sha256) if key}
    findings = []
    for name, record in records.items():
        found = {key: by_key[key] for seen in record for key in seen if key in by_key}
        for photo in sorted({photo.id: photo for photo in found.values()}.values(), key=lambda photo: photo.id):
            findings.append(Finding((photo.id,), f"{name} was trained on this photo of {side_of(photo, split)}"))
    return Check(
        name="seen_photos",
        compared=f"{_count(records)} photos that {len(records)} generators saw, with {len(hidden)} held-out photos",
        severity="leak",
        findings=tuple(findings),
        way_out="train them anew: `dvc repro -f base` (or name a base that has not seen these photos)",
    )


def check_unknown(records: Records, photos: Sequence[Photo]) -> Check:
    """Photos that a generator was trained on and that the study does not have: nobody can tell what they show."""
    known = {key for photo in photos for key in (photo.id, photo.sha256)}
    findings = [
        Finding((seen.id,), f"{name} was trained on this photo, which the study does not have")
        for name, record in records.items()
        for seen in record
        if seen.id not in known and seen.sha256 not in known
    ]
    return Check(
        name="unknown_photos",
        compared=f"{_count(records)} photos that {len(records)} generators saw, with {len(photos)} photos of the study",
        severity="warning",
        findings=tuple(findings),
    )


def check_choosers(records: Records, photos: Sequence[Photo], split: SplitParams) -> Check:
    """Held-out photos that chose the step of a generator; `records` has those of each such generator."""
    hidden = {photo.id for photo in held_out_photos(photos, split)}
    findings = [
        Finding(tuple(sorted(found)), f"{name} is the step that photos which it did not learn from liked best")
        for name, record in records.items()
        if (found := {seen.id for seen in record} & hidden)
    ]
    return Check(
        name="choosing_photos",
        compared=f"{_count(records)} photos that chose the step of {len(records)} generators",
        severity="warning",
        findings=tuple(findings),
    )


def _count(records: Records) -> int:
    return sum(len(record) for record in records.values())
