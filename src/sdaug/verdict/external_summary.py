"""Images from elsewhere in the report: a few of each, with their settings, and what limits the arms that use them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdaug.common.external_images import ExternalImage, SeenPhotos
from sdaug.common.sections import Checked
from sdaug.verdict.letters import Letter
from sdaug.verdict.number_formats import plural
from sdaug.verdict.thumbnails import pick_images, thumbnail

NUM_SHOWN = 6  # of each class and source
SEEN = {
    "none": "It is declared that the tool has seen no photo of this study; nothing here can check that.",
    "training": "It is declared that the tool has seen training photos alone, neither those that validate nor those of "
    "the test set; nothing here can check that.",
    "unknown": "Whether the tool has seen photos of this study is not known. If it has seen test photos, scores may be "
    "too good: the audit finds copies of them among the images, and nothing else.",
}


@dataclass(frozen=True, kw_only=True)
class ExternalSource(Checked):
    """What is known of a folder of images from elsewhere: what its tool has seen, and what the images say."""

    seen: SeenPhotos
    num_images: Mapping[str, int]
    num_duplicates: int
    num_with_settings: int
    models: list[str]


@dataclass(frozen=True, kw_only=True)
class ExternalUse(Checked):
    """How many images of each class an arm uses, and of which source."""

    source: str
    num_images: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class External(Letter):
    """The images from elsewhere, by source, and what arms use of them."""

    stage = "external"

    sources: Mapping[str, ExternalSource]
    used: Mapping[str, ExternalUse]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A few images of one class and source, as pairs of data URI and settings."""

    source: str
    num_images: int
    images: tuple[tuple[str, str], ...]


def build_strips(images: Sequence[tuple[ExternalImage, Path]]) -> dict[str, list[Strip]]:
    """The strips of each class, one for each source that has images of it."""
    grouped: dict[tuple[str, str], list[tuple[ExternalImage, Path]]] = {}
    for image, path in images:
        grouped.setdefault((image.label, image.source), []).append((image, path))
    found: dict[str, list[Strip]] = {}
    for (label, source), members in grouped.items():
        found.setdefault(label, []).append(_strip(label, source, members))
    return found


def _strip(label: str, source: str, images: Sequence[tuple[ExternalImage, Path]]) -> Strip:
    captions = {path: image.caption or "no settings found" for image, path in images}
    chosen = pick_images(list(captions), label, source, count=NUM_SHOWN)
    shown = tuple((thumbnail(path), captions[path]) for path in chosen)
    return Strip(source=source, num_images=len(images), images=shown)


def limits_of_external(letter: External) -> list[str]:
    """What the verdict cannot know of images that were drawn elsewhere."""
    arms: dict[str, list[str]] = {}
    source_of = {arm: use.source for arm, use in letter.used.items()}
    for arm, source in source_of.items():
        arms.setdefault(source, []).append(arm)
    limits = []
    for source, of_source in arms.items():
        found = letter.sources[source]
        named = f"{'arm' if len(of_source) == 1 else 'arms'} {' and '.join(of_source)}"
        models = f", by {', '.join(found.models)} as they say themselves" if found.models else ""
        count = plural(sum(found.num_images.values()), "image")
        limits.append(
            f"Images of {named} come from outside ({source}, {count}{models}). This study cannot draw them again. "
            "All training runs have the same ones: the luck of drawing them is not in the intervals. "
            f"{SEEN[found.seen]}"
        )
        unused = [
            label
            for label, count in found.num_images.items()
            if count and not any(letter.used[arm].num_images[label] for arm in of_source)
        ]
        if unused:
            limits.append(
                f"Images of {', '.join(unused)} from {source} are not used: these classes lack none (images.per_class "
                "uses as many of each class)."
            )
    return limits
