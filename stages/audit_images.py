"""audit_images: look for held-out photos in what generators saw and drew; a leak stops the run before packing."""

import _source  # noqa: F401

import argparse
from pathlib import Path

import numpy as np

from sdaug.audit.checks import ImageEvidence, check_images
from sdaug.audit.findings import leak_message, verdict_as_json
from sdaug.audit.params import AuditParams
from sdaug.common.external_images import ExternalImage, read_external
from sdaug.common.files import write_json
from sdaug.common.images import read_png
from sdaug.common.manifest import read_manifest, read_names, read_photos
from sdaug.common.params import SplitParams, concept_dirs
from sdaug.common.provenance import CHOOSERS, RECORD, read_record
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import read_synthetic


def main() -> None:
    args = parse_args()
    params = read_section(args.params, "audit", AuditParams)
    split = read_section(args.params, "split", SplitParams)

    evidence = read_evidence(args)
    checks = check_images(evidence, split=split, params=params)
    # Written before a leak stops the run, which it explains.
    files = read_names(args.names) | {image.id: describe_file(image) for image in read_external(args.external)}
    report = verdict_as_json(checks, files, params.on_leak)
    write_json(args.metrics, {**report, "num_synthetic": len(evidence.synthetic_ids)})
    if report["verdict"] == "leak" and params.on_leak == "fail":
        raise ValueError(leak_message(checks, files, listed_in=args.metrics.as_posix()))


def describe_file(image: ExternalImage) -> str:
    """The file of an image from elsewhere, as the folder has it."""
    return f"{image.original} (external {image.source})"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--names", type=Path, required=True, help="CSV file with the file name of each id")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--generators", type=Path, required=True, help="folder with the generators of each concept")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder with synthetic images of each concept")
    parser.add_argument("--external", type=Path, required=True, help="imported images")
    parser.add_argument("--metrics", type=Path, required=True)
    return parser.parse_args()


def read_evidence(args: argparse.Namespace) -> ImageEvidence:
    """Everything that the audit looks at."""
    photos = read_manifest(args.prepared)
    images = read_photos(args.prepared, photos)
    folders = concept_dirs(args.synthetic, args.params)
    generated = [(image.id, folder / image.file_name) for folder in folders for image in read_synthetic(folder)]
    generated += [(image.id, args.external / image.file_name) for image in read_external(args.external)]
    pixels = [read_png(path) for _, path in generated]
    # A class may have several generators, each in a folder of its own.
    roots = concept_dirs(args.generators, args.params)
    generators = [path.parent for root in roots for path in sorted(root.rglob(RECORD))]
    for root in roots:
        if not any(folder.is_relative_to(root) for folder in generators):
            raise FileNotFoundError(f"{root}: no {RECORD}, so nobody knows what it saw; run `dvc repro -f dreambooth`")
    return ImageEvidence(
        photos=photos,
        images=images,
        synthetic_ids=[image_id for image_id, _ in generated],
        synthetic=np.stack(pixels) if pixels else images[:0],
        records={folder.as_posix(): read_record(folder) for folder in (args.base, *generators)},
        choosers={
            folder.as_posix(): read_record(folder, name=CHOOSERS)
            for folder in (args.base, *generators)
            if (folder / CHOOSERS).is_file()
        },
    )


if __name__ == "__main__":
    run_stage(main)
