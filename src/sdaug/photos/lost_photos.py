"""How many photos of a class may be lost, and whether the 16-bit ones are as bright as they were taken."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sdaug.photos.depth import offer_maximum
from sdaug.photos.folders import Source
from sdaug.photos.formats import LOST_SUFFIXES, count_lost
from sdaug.photos.params import PrepareParams

NUM_NAMED_FILES = 3  # in an error message that could list hundreds
# Photos that use the whole range have brighter pixels than half of it, at least in one of a whole folder.
MIN_PEAK = 2**15


def check_losses(
    params: PrepareParams,
    sources: Sequence[Source],
    *,
    broken: Sequence[tuple[Source, str]],
    unread: Counter[tuple[str, str]],
) -> None:
    """Check that few enough photos of each class are unreadable or of a kind that is not read.

    Raises:
        ValueError: a class loses more than `prepare.max_broken_fraction` of its files.
    """
    num_photos, lost = Counter(source.label for source in sources), count_lost(unread)
    num_broken = Counter(source.label for source, _ in broken)
    for label in sorted(num_photos | lost):
        num_lost, num_files = num_broken[label] + lost[label], num_photos[label] + lost[label]
        if num_lost <= params.max_broken_fraction * num_files:
            continue
        raise ValueError(
            f"{params.raw}: {num_lost} of {num_files} photos of {label} cannot be used: "
            f"{_name_lost(label, broken, unread)}; repair, convert or delete them, or raise "
            f"prepare.max_broken_fraction ({params.max_broken_fraction}) in params.yaml"
        )


def check_depth(peaks: Sequence[tuple[Path, int | None]]) -> None:
    """Check that the 16-bit photos that do not state their depth use more than half of the range.

    Raises:
        ValueError: none does, so that all would be far too dark.
    """
    known = [(peak, path) for path, peak in peaks if peak is not None]
    if not known or max(known)[0] >= MIN_PEAK:
        return
    peak, path = max(known)
    raise ValueError(
        f"{path}: the brightest of {len(known)} photos with 16 bits has {peak} of 65535, so all would be dark, and "
        f"none states its depth; set prepare.sixteen_bit_maximum: {offer_maximum(peak)} in params.yaml, or 65535 "
        "if they are meant to be dark"
    )


def _name_lost(label: str, broken: Sequence[tuple[Source, str]], unread: Counter[tuple[str, str]]) -> str:
    named = [f"{source.path} ({reason})" for source, reason in broken if source.label == label]
    more = [f"{len(named) - NUM_NAMED_FILES} more"] * (len(named) > NUM_NAMED_FILES)
    kinds = [f"{n} {suffix}" for (found, suffix), n in unread.items() if found == label and suffix in LOST_SUFFIXES]
    return ", ".join(
        [*named[:NUM_NAMED_FILES], *more, *([f"{' and '.join(kinds)}, which are not read"] if kinds else [])]
    )
