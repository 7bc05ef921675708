"""The audit's checks for copies: of photos across splits and labels, and of held-out photos among synthetic images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdaug.audit.copies import Floats, Look, find_copies, find_exact, look_at, shared_detail
from sdaug.audit.findings import Check, Finding
from sdaug.audit.params import AuditParams
from sdaug.audit.sides import side_of
from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams

Images = NDArray[np.uint8]
Pairs = Sequence[tuple[int, int, str]]


def check_copies(
    photos: Sequence[Photo], images: Images, look: Look, *, split: SplitParams, params: AuditParams
) -> list[Check]:
    """Exact and near copies of photos, across sides and across labels; `images` `(N, H, W, 3)`.

    Copies that are on one side and have one label do no harm here, and are only counted.
    """
    exact = [(i, j, "the same pixels") for i, j in find_exact(images)]
    known = {(i, j) for i, j, _ in exact}
    limits = {"hash_distance": params.hash_distance, "copy_correlation": params.copy_correlation}
    copies = find_copies(look, look, shared=shared_detail(look), **limits)  # type: ignore[arg-type]
    near = [(copy.first, copy.second, str(copy)) for copy in copies if (copy.first, copy.second) not in known]

    def on_sides(pairs: Pairs) -> tuple[Finding, ...]:
        return _differing(photos, pairs, [side_of(photo, split) for photo in photos])

    every = [*exact, *near]
    labels = [photo.label for photo in photos]
    counted = f"{len(photos)} photos, each with each"
    return [
        Check(name="exact_copies", compared=counted, severity="leak", findings=on_sides(exact)),
        Check(
            name="near_copies",
            compared=f"{counted}; {len(every)} pairs of copies in all, most of them harmless if on one side",
            severity="leak",
            findings=on_sides(near),
        ),
        Check(name="labels_of_copies", compared=counted, severity="leak", findings=_differing(photos, every, labels)),
    ]


def check_synthetic(
    synthetic_ids: Sequence[str],
    synthetic: Images,
    held_out: Sequence[Photo],
    held_out_look: Look,
    *,
    shared: Floats,
    split: SplitParams,
    params: AuditParams,
) -> Check:
    """Synthetic images `(M, H, W, 3)` that are copies of held-out photos; `shared` is detail that all photos have."""
    findings: list[Finding] = []
    if len(synthetic) and len(held_out):
        copies = find_copies(
            look_at(synthetic),
            held_out_look,
            shared=shared,
            hash_distance=params.hash_distance,
            copy_correlation=params.copy_correlation,
        )
        findings = [
            Finding(
                (synthetic_ids[copy.first], held_out[copy.second].id),
                f"{copy}; the photo is in {side_of(held_out[copy.second], split)}",
            )
            for copy in copies
        ]
    return Check(
        name="synthetic_copies",
        compared=f"{len(synthetic)} synthetic images with {len(held_out)} held-out photos",
        severity="leak",
        findings=tuple(findings),
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


def _differing(photos: Sequence[Photo], pairs: Pairs, kinds: Sequence[str]) -> tuple[Finding, ...]:
    """The pairs whose two photos are of different kinds."""
    return tuple(
        Finding((photos[i].id, photos[j].id), f"{note}; in {kinds[i]} and {kinds[j]}")
        for i, j, note in pairs
        if kinds[i] != kinds[j]
    )
