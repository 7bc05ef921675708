"""Importing images from elsewhere: checked, square and small as `prepare` makes photos, with a manifest."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sdaug.common.external_images import ExternalImage, Settings, external_id
from sdaug.common.faults import find_fault
from sdaug.common.files import write_text
from sdaug.common.images import read_png
from sdaug.external.folder import NUM_NAMED, find_images
from sdaug.external.params import ExternalParams
from sdaug.external.settings import merge_settings, read_settings, read_settings_table
from sdaug.photos.loading import Loaded, load_photos
from sdaug.photos.lost_photos import check_depth
from sdaug.photos.params import PrepareParams

SETTINGS_DIR = "settings"  # for the texts of images as they stand: workflows are long


class Imported(NamedTuple):
    """The images of one source, and how many were left out since their pixels are those of another."""

    images: list[ExternalImage]
    num_duplicates: int

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """The number of images of each class."""
        found = Counter(image.label for image in self.images)
        return {label: found[label] for label in classes}


def import_images(
    name: str, source: ExternalParams, prepare: PrepareParams, classes: Sequence[str], out_dir: Path
) -> Imported:
    """Write the images of an entry of section `external` to `out_dir/NAME`; all are kept, however many an arm uses.

    Raises:
        FileNotFoundError: there is no such folder, or no table of settings.
        ValueError: the folder, a file, or the table breaks a rule.
    """
    found = find_images(name, source, classes).images
    originals = [image.path.relative_to(source.folder).as_posix() for image in found]
    table = read_settings_table(source.folder / source.table, originals) if source.table else {}
    images_dir = out_dir / name
    images_dir.mkdir()
    loaded, broken = load_photos(prepare, found, images_dir, title=f"external {name}")
    where = f"params.yaml: external.{name}.ignore"
    _refuse([(item.source.path, item.reason) for item in broken], where)
    check_depth([(item.source.path, item.sixteen_bit_peak) for item in loaded])
    kept = _first_of_same(loaded)
    _refuse(_find_faults(kept, images_dir), where)
    for image_id in {item.id for item in loaded} - {item.id for item in kept}:
        (images_dir / f"{image_id}.png").unlink()
    images = [_describe(name, source, item, table, images_dir) for item in kept]
    return Imported(sorted(images, key=lambda image: image.id), len(loaded) - len(kept))


def _describe(
    name: str, source: ExternalParams, item: Loaded, table: dict[str, Settings], images_dir: Path
) -> ExternalImage:
    """The manifest row of an image; its settings are kept as they stand, too."""
    original = item.source.path.relative_to(source.folder).as_posix()
    own, text = read_settings(item.source.path)
    if text:
        write_text(images_dir / SETTINGS_DIR / f"{item.id}.txt", text)
    settings = merge_settings(own, table.get(original))
    return ExternalImage(
        id=external_id(name, item.id),
        label=item.source.label,
        source=name,
        original=original,
        **{key: getattr(settings, key) for key in ("tool", "prompt", "negative_prompt", "seed", "model")},
    )


def _first_of_same(loaded: Sequence[Loaded]) -> list[Loaded]:
    """Of images with the same pixels the first by id and path.

    Raises:
        ValueError: two classes share one.
    """
    by_pixels: dict[str, list[Loaded]] = defaultdict(list)
    for item in sorted(loaded, key=lambda item: (item.id, item.source.path)):
        by_pixels[item.pixels].append(item)
    for items in by_pixels.values():
        other = next((item for item in items if item.source.label != items[0].source.label), None)
        if other:
            raise ValueError(
                f"{items[0].source.path} and {other.source.path}: the same image in two classes; keep it in one, or in "
                "neither"
            )
    return [items[0] for items in by_pixels.values()]


def _find_faults(kept: Sequence[Loaded], images_dir: Path) -> list[tuple[Path, str]]:
    """Images that a photo cannot look like: some services return a black one for what they block."""
    reasons = {"constant": "of a single colour", "few_levels": "of fewer grey levels than any photo"}
    faults = [(item, find_fault(read_png(images_dir / f"{item.id}.png"), set())) for item in kept]
    return [(item.source.path, reasons[fault]) for item, fault in faults if fault]


def _refuse(faults: Sequence[tuple[Path, str]], key: str) -> None:
    if faults:
        named = "; ".join(f"{path}: {reason}" for path, reason in faults[:NUM_NAMED])
        more = f"; and {len(faults) - NUM_NAMED} more" if len(faults) > NUM_NAMED else ""
        raise ValueError(f"{named}{more}: not usable; repair or delete it, or name it in {key}")
