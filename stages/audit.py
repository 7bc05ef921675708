"""audit: look for leaks and faults of the photos, so that a leak stops the run before anything slow."""

import _source  # noqa: F401

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdaug.audit.checks import PhotoEvidence, audit_as_json, check_photos
from sdaug.audit.findings import leak_message
from sdaug.audit.label_errors import doubt_labels, doubts_as_json
from sdaug.audit.params import AuditParams
from sdaug.common.device import prepare_device
from sdaug.common.files import read_json, write_json
from sdaug.common.manifest import Photo, label_indices, read_manifest, read_names, read_photos
from sdaug.common.params import SplitParams
from sdaug.common.photo_copies import read_copies
from sdaug.common.sections import read_params, read_section
from sdaug.common.stage import run_stage
from sdaug.phantom.params import CLASSES, PhantomParams
from sdaug.phantom.udders import plan_teats

KEY = "flip_horizontal"
NUM_THREADS = 1  # of the small classifier; fixed, since the last digits depend on it


def main() -> None:
    args = parse_args()
    params = read_section(args.params, "audit", AuditParams)
    split = read_section(args.params, "split", SplitParams)
    classes = read_section(args.params, "classes", list[str])

    # Checks that can stop the run.
    evidence = read_evidence(args)
    checks = check_photos(evidence, split=split, params=params)

    # Doubted labels of training photos, for a person to look at.
    prepare_device(NUM_THREADS)
    is_train = np.array([photo.split == "train" for photo in evidence.photos])
    train = [photo for photo in evidence.photos if photo.split == "train"]
    folds = np.array([photo.fold for photo in train])
    doubts = doubt_labels(evidence.images[is_train], label_indices(train, classes), folds, classes, params)
    truth = read_truth(args.params, train, evidence.files)

    # Written before a leak stops the run, which it explains.
    report = audit_as_json(checks, evidence, split, params)
    write_json(args.metrics, {**report, "label_errors": doubts_as_json(doubts, train, evidence.files, classes, truth)})
    if report["verdict"] == "leak" and params.on_leak == "fail":
        raise ValueError(leak_message(checks, evidence.files, listed_in=args.metrics.as_posix()))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--names", type=Path, required=True, help="CSV file with the file name of each id")
    parser.add_argument("--report", type=Path, required=True, help="what prepare reports of the photos")
    parser.add_argument("--metrics", type=Path, required=True)
    return parser.parse_args()


def read_evidence(args: argparse.Namespace) -> PhotoEvidence:
    """Everything that the audit looks at."""
    photos = read_manifest(args.prepared)
    return PhotoEvidence(
        photos=photos,
        images=read_photos(args.prepared, photos),
        files=read_names(args.names),
        copies=read_copies(args.prepared),
        prepared=read_json(args.report),
        flips=read_flips(args.params),
    )


def read_flips(params: Path) -> list[str]:
    """The settings that mirror photos in training."""
    keys = [f"base.{KEY}", f"dreambooth.{KEY}"]
    found = [key for key in keys if read_section(params, key, bool)]
    # The setting of all arms counts once, for those that do not say otherwise.
    entries = read_section(params, "datasets", dict[str, dict[str, dict[str, Any]]])
    own = {name: arm["training"][KEY] for name, arm in entries.items() if KEY in arm["training"]}
    if len(own) < len(entries) and read_section(params, f"arm.training.{KEY}", bool):
        found.append(f"arm.training.{KEY}")
    return found + [f"datasets.{name}.training.{KEY}" for name, is_mirrored in own.items() if is_mirrored]


def read_truth(params: Path, photos: Sequence[Photo], files: Mapping[str, str]) -> dict[str, str] | None:
    """The class that each phantom photo shows, which label noise hides; None for any other photos."""
    if "phantom" not in read_params(params):
        return None
    teats = plan_teats(read_section(params, "phantom", PhantomParams))
    shown = {f"{teat.split}/{teat.label}/{teat.udder}_{teat.position}.png": CLASSES[teat.score - 1] for teat in teats}
    is_phantom = all(files[photo.id] in shown for photo in photos)
    return {photo.id: shown[files[photo.id]] for photo in photos} if is_phantom else None


if __name__ == "__main__":
    run_stage(main)
