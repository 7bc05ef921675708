"""external: import images that other tools drew, made square and small as photos are, and count them for each arm."""

import _source  # noqa: F401

import argparse
from pathlib import Path
from typing import Any

from sdaug.common.external_images import write_external
from sdaug.common.files import fresh_dir, write_json
from sdaug.common.manifest import read_manifest, training_photos
from sdaug.common.params import SplitParams, read_arm
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.datasets.params import ArmImages
from sdaug.external.amounts import check_amounts, count_needed
from sdaug.external.importing import Imported, import_images
from sdaug.external.params import ExternalParams
from sdaug.photos.params import PrepareParams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for images, one per source, and a manifest")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file for the counts")
    args = parser.parse_args()

    sources = read_section(args.params, "external", dict[str, ExternalParams])
    classes = read_section(args.params, "classes", list[str])
    prepare = read_section(args.params, "prepare", PrepareParams)
    with fresh_dir(args.out) as out_dir:
        imported = {name: import_images(name, sources[name], prepare, classes, out_dir) for name in sorted(sources)}
        write_external(out_dir, [image for found in imported.values() for image in found.images])
        # Counted before anything slow starts.
        used = count_used(args, sources, imported, classes)
    write_json(args.metrics, {"sources": describe(sources, imported, classes), "used": used})


def count_used(
    args: argparse.Namespace,
    sources: dict[str, ExternalParams],
    imported: dict[str, Imported],
    classes: list[str],
) -> dict[str, dict[str, Any]]:
    """How many images of each class each arm uses, if it uses any from elsewhere."""
    seen = training_photos(read_manifest(args.prepared), read_section(args.params, "split", SplitParams))
    rare = list(read_section(args.params, "concepts", dict[str, Any]))
    used: dict[str, dict[str, Any]] = {}
    for arm in read_section(args.params, "datasets", dict[str, Any]):
        images = read_arm(args.params, arm, "images", ArmImages)
        if images.external is None:
            continue
        source, have = sources[images.external], imported[images.external].counts(classes)
        folders = {label: source.folder / source.class_names.get(label, label) for label in classes}
        needed = count_needed(images, seen, have, rare)
        check_amounts(arm, images, needed, have, folders)
        used[arm] = {"source": images.external, "num_images": needed}
        shown = ", ".join(f"{needed[label]} of {have[label]} of {label}" for label in classes)
        print(f"{arm}: uses {shown} from {images.external}")
    return used


def describe(
    sources: dict[str, ExternalParams], imported: dict[str, Imported], classes: list[str]
) -> dict[str, dict[str, Any]]:
    """What the report reads of each source."""
    return {
        name: {
            "seen": sources[name].seen,
            "num_images": found.counts(classes),
            "num_duplicates": found.num_duplicates,
            "num_with_settings": sum(bool(image.caption) for image in found.images),
            "models": sorted({image.model for image in found.images if image.model}),
        }
        for name, found in imported.items()
    }


if __name__ == "__main__":
    run_stage(main)
