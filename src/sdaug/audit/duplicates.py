"""The audit's checks for copies: of photos across splits and labels, and of held-out photos among synthetic images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdaug.audit.findings import Check, Finding
from sdaug.audit.params import AuditParams
from sdaug.audit.sides import held_out_photos, side_of
from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams
from sdaug.common.photo_copies import Look, PhotoCopy, find_copies, find_exact, look_at, shared_detail

Images = NDArray[np.uint8]
Pair = tuple[Photo, Photo, str]

MIN_MIRRORED = 2  # photos of two classes that are mirrored copies: one may be a slip, several are a rule
ONE_SIDE = "set prepare.split: made and prepare.group_copies: true, which keep copies on one side"
DIFFERENT = "if they are different photos, raise audit.copy_correlation"


def check_copies(
    photos: Sequence[Photo],
    images: Images,
    copies: Sequence[PhotoCopy],
    *,
    split: SplitParams,
    flips: Sequence[str],
) -> list[Check]:
    """Exact and near copies of photos, across sides and across labels; `images` `(N, H, W, 3)` are in their order.

    Copies that are on one side and have one label do no harm here, and are only counted. `flips` names the settings
    that mirror photos.
    """
    by_id = {photo.id: photo for photo in photos}
    exact = [(photos[i], photos[j], "the same pixels, once they are square and small") for i, j in find_exact(images)]
    mirrored = _mirrored_copies(copies, by_id)
    known = {frozenset((one.id, other.id)) for one, other, _ in exact}
    near = [
        (by_id[copy.first], by_id[copy.second], str(copy))
        for copy in copies
        if copy not in mirrored and frozenset((copy.first, copy.second)) not in known
    ]
    every = [*exact, *near]
    sides = {photo.id: side_of(photo, split) for photo in photos}
    labels = {photo.id: photo.label for photo in photos}
    counted = f"{len(photos)} photos, each with each"
    return [
        Check(
            name="exact_copies",
            compared=counted,
            severity="leak",
            findings=_differing(exact, sides),
            way_out=f"{ONE_SIDE}, or raise prepare.size_pixels, at which different photos are alike",
        ),
        Check(
            name="near_copies",
            compared=f"{counted}; {len(every)} pairs of copies in all, most of them harmless if on one side",
            severity="leak",
            findings=_differing(near, sides),
            way_out=f"{ONE_SIDE}; {DIFFERENT}",
        ),
        Check(
            name="labels_of_copies",
            compared=counted,
            severity="leak",
            findings=_differing(every, labels),
            way_out=f"name the wrong one of each in prepare.ignore; {DIFFERENT}",
        ),
        check_mirrored(mirrored, by_id, counted=counted, flips=flips),
    ]


def check_mirrored(
    mirrored: Sequence[PhotoCopy], by_id: Mapping[str, Photo], *, counted: str, flips: Sequence[str]
) -> Check:
    """Classes that mirroring turns into each other, as left and right: a leak where training mirrors photos."""
    pairs = Counter(_labels(copy, by_id) for copy in mirrored)
    findings = [
        Finding(
            tuple(i for copy in mirrored if _labels(copy, by_id) == classes for i in (copy.first, copy.second)),
            f"{count} photos of {classes[0]} are mirrored photos of {classes[1]}",
        )
        for classes, count in sorted(pairs.items())
    ]
    return Check(
        name="mirrored_classes",
        compared=f"{counted}, mirrored",
        severity="leak" if flips else "warning",  # without mirroring, it is no more than worth knowing
        findings=tuple(findings),
        way_out=f"mirroring gives photos a wrong label: set {', '.join(flips)} to false (`sdaug adopt --no-flip`)",
    )


def _mirrored_copies(copies: Sequence[PhotoCopy], by_id: Mapping[str, Photo]) -> list[PhotoCopy]:
    """The copies of two classes that are mirrored, where these classes have several."""
    found = [copy for copy in copies if copy.is_mirrored and len(set(_labels(copy, by_id))) == 2]
    counts = Counter(_labels(copy, by_id) for copy in found)
    return [copy for copy in found if counts[_labels(copy, by_id)] >= MIN_MIRRORED]


def _labels(copy: PhotoCopy, by_id: Mapping[str, Photo]) -> tuple[str, str]:
    one, other = sorted((by_id[copy.first].label, by_id[copy.second].label))
    return one, other


def check_synthetic(
    synthetic_ids: Sequence[str],
    synthetic: Images,
    photos: Sequence[Photo],
    images: Images,
    *,
    split: SplitParams,
    params: AuditParams,
) -> Check:
    """Synthetic images `(M, H, W, 3)` that are copies of held-out photos; `images` `(N, H, W, 3)` of all photos."""
    hidden_ids = {photo.id for photo in held_out_photos(photos, split)}
    hidden = [index for index, photo in enumerate(photos) if photo.id in hidden_ids]
    findings: list[Finding] = []
    if len(synthetic) and hidden:
        look = look_at(images)
        copies = find_copies(
            look_at(synthetic),
            Look(hashes=look.hashes[:, hidden], detail=look.detail[hidden]),
            shared=shared_detail(look),
            hash_distance=params.hash_distance,
            copy_correlation=params.copy_correlation,
        )
        for copy in copies:
            photo = photos[hidden[copy.second]]
            note = f"{copy}; the photo is in {side_of(photo, split)}"
            findings.append(Finding((synthetic_ids[copy.first], photo.id), note))
    return Check(
        name="synthetic_copies",
        compared=f"{len(synthetic)} synthetic images with {len(hidden)} held-out photos",
        severity="leak",
        findings=tuple(findings),
        way_out="draw others with another number in generator_seeds, or delete them where they come from elsewhere; if "
        "they only look alike, raise audit.copy_correlation",
    )


def check_dropped(prepared: Mapping[str, Any]) -> Check:
    """Copies that `prepare` has dropped, from its report: a training copy of a test photo tells of the source."""
    by_class = prepared["duplicates"]
    said = ", ".join(f"{count} of {place}" for place, count in by_class.items()) or "none"
    num_crossing = prepared["num_training_copies_of_test_photos"]
    note = f"prepare dropped {num_crossing} training photos that were exact copies of test photos"
    return Check(
        name="dropped_copies",
        compared=f"exact copies that prepare dropped: {said}",
        severity="warning",
        findings=(Finding((), note),) if num_crossing else (),
    )


def _differing(pairs: Sequence[Pair], kinds: Mapping[str, str]) -> tuple[Finding, ...]:
    """The pairs whose two photos are of different kinds; `kinds` has that of each id."""
    return tuple(
        Finding((one.id, other.id), f"{note}; in {kinds[one.id]} and {kinds[other.id]}")
        for one, other, note in pairs
        if kinds[one.id] != kinds[other.id]
    )
