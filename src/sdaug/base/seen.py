"""What the base has seen, as far as this project knows."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sdaug.common.manifest import Photo
from sdaug.common.record import RECORD, SeenPhoto, read_record
from sdaug.common.seen import SEEN, Seen, read_seen

OTHER = "photos of another study or another split, listed in its photos.csv"
UNKNOWN = Seen(summary="unknown to this project, see its model card", counts={}, num_adapted=0)


def find_seen(model: str, photos: Iterable[Photo], record: Iterable[SeenPhoto]) -> Seen:
    """What the base has seen, given the study's training photos and its record of those it was trained on.

    Raises:
        ValueError: the seen.json of a loaded folder cannot be read.
    """
    known = {SeenPhoto(id=photo.id, sha256=photo.sha256) for photo in record}
    # Only a folder says what it has seen: another run may have made it.
    folder = Path(model)
    seen = read_seen(folder / SEEN) if (folder / SEEN).is_file() else UNKNOWN
    earlier = set(read_record(folder)) if (folder / RECORD).is_file() else set()
    if earlier - {SeenPhoto(id=photo.id, sha256=photo.sha256) for photo in photos}:
        seen = replace(UNKNOWN, summary=OTHER)
    return replace(seen, num_adapted=len(known)) if known - earlier else seen
