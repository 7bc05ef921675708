"""The sides of a study's splits, which may share neither groups nor copies of a photo."""

from collections import defaultdict
from collections.abc import Sequence

from sdaug.audit.findings import Check, Finding
from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams


def side_of(photo: Photo, split: SplitParams) -> str:
    """`test`, a fold (clean), or `train`: the published protocol mixes all training photos, whatever their fold."""
    if photo.split == "test":
        return "test"
    return "train" if split.protocol == "published" else f"fold {photo.fold}"


def held_out_photos(photos: Sequence[Photo], split: SplitParams) -> list[Photo]:
    """The photos that no generator may have seen: the test set, and the validation fold of the clean protocol."""
    # Not `training_photos`, which refuses the leaks that are looked for here.
    hidden = {"test", f"fold {split.fold}"}
    return [photo for photo in photos if side_of(photo, split) in hidden]


def photos_with_siblings(photos: Sequence[Photo]) -> list[Photo]:
    """The test photos that share their group with a training photo."""
    groups = {photo.group for photo in photos if photo.split == "train"}
    return [photo for photo in photos if photo.split == "test" and photo.group in groups]


def check_groups(photos: Sequence[Photo], split: SplitParams) -> Check:
    """Groups on several sides."""
    members: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        members[photo.group].append(photo)
    findings = []
    for group, of_group in sorted(members.items()):
        sides = sorted({side_of(photo, split) for photo in of_group})
        if len(sides) > 1:
            findings.append(
                Finding(tuple(photo.id for photo in of_group), f"group {group} is in {' and '.join(sides)}")
            )
    num_test, num_shared = sum(photo.split == "test" for photo in photos), len(photos_with_siblings(photos))
    return Check(
        name="groups",
        compared=f"{len(members)} groups; {num_shared} of {num_test} test photos share theirs with training",
        severity="leak",
        findings=tuple(findings),
        way_out="set prepare.split: made, a new test set of whole groups",
    )
