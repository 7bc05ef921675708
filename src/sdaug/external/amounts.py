"""How many images from elsewhere each arm needs, and whether there are so many."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sdaug.common.manifest import Photo
from sdaug.datasets.arms import count_synthetic
from sdaug.datasets.params import ArmImages


def count_needed(
    arm: ArmImages, seen: Sequence[Photo], have: Mapping[str, int], rare: Collection[str]
) -> dict[str, int]:
    """How many images of each class an arm uses; `have` are those of its source, `seen` the training photos.

    The rare classes are filled, and so is any other class that has images: a class that lacks a few photos, and for
    which none were drawn, stays as it is, as for our own generators.
    """
    wanted = count_synthetic(seen, arm)
    return {label: wanted[label] if label in rare or have[label] else 0 for label in have}


def check_amounts(
    arm: str, images: ArmImages, needed: Mapping[str, int], have: Mapping[str, int], folders: Mapping[str, Path]
) -> None:
    """Refuse an arm whose source has too few images of a class; `folders` are those of the classes.

    Raises:
        ValueError: so it is; names all such classes.
    """
    left = {label: round(images.keep_share * count) for label, count in have.items()}
    short = [label for label, count in needed.items() if count > left[label]]
    if not short:
        return
    share = ", of which keep_share leaves {}" if images.keep_share < 1 else ""
    named = "; ".join(
        f"{needed[label]} of {label}, and {folders[label]} has {have[label]}{share.format(left[label])}"
        for label in short
    )
    key = "per_class" if images.per_class else "synthetic"
    most = min((left[label] / needed[label] for label in short), default=0.0)
    value = images.per_class or images.multiple
    lower = int(most * value) if images.per_class else int(100 * most * value) / 100
    offer = f", or set {key}: {lower:g} in this arm" if lower else ""
    raise ValueError(f"params.yaml: datasets.{arm}.images: needs {named}; draw more{offer}")
