"""audit: look for leaks and faults of the data, so that a leak stops the run before any classifier trains."""

import _source  # noqa: F401

import argparse
from pathlib import Path

import numpy as np

from sdaug.audit.checks import Evidence, audit_as_json, doubts_as_json, run_checks
from sdaug.audit.findings import leak_message
from sdaug.audit.label_errors import doubt_labels
from sdaug.audit.params import AuditParams
from sdaug.common.device import prepare_device
from sdaug.common.files import read_csv, read_json, write_json
from sdaug.common.images import read_png
from sdaug.common.manifest import Photo, label_indices, read_manifest, read_photos
from sdaug.common.params import SplitParams
from sdaug.common.record import RECORD, read_record
from sdaug.common.sections import read_params, read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import read_synthetic
from sdaug.phantom.params import CLASSES, PhantomParams
from sdaug.phantom.teats import plan_teats

NUM_THREADS = 1  # of the small classifier; fixed, since the last digits depend on it


def main() -> None:
    args = parse_args()
    params = read_section(args.params, "audit", AuditParams)
    split = read_section(args.params, "split", SplitParams)
    classes = read_section(args.params, "classes", list[str])

    # Checks that can stop the run.
    evidence = read_evidence(args)
    checks = run_checks(evidence, split=split, params=params)

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
        raise ValueError(leak_message(checks, evidence.files))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--names", type=Path, required=True, help="CSV file with the file name of each id")
    parser.add_argument("--report", type=Path, required=True, help="what prepare reports of the photos")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--generators", type=Path, nargs="*", default=[], help="a folder per class")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="generated images, a folder per class")
    parser.add_argument("--metrics", type=Path, required=True)
    return parser.parse_args()


def read_evidence(args: argparse.Namespace) -> Evidence:
    """Everything that the audit looks at."""
    photos = read_manifest(args.prepared)
    files: dict[str, str] = {}
    for row in read_csv(args.names, columns=("id", "file")):
        files.setdefault(row["id"], row["file"])  # the kept file comes before its copies: test before train
    images = read_photos(args.prepared, photos)
    generated = [(folder, image) for folder in args.synthetic for image in read_synthetic(folder)]
    pixels = [read_png(folder / image.file_name) for folder, image in generated]
    # A class may have several generators, each in a folder of its own.
    folders = [path.parent for root in args.generators for path in sorted(root.rglob(RECORD))]
    for root in args.generators:
        if not any(folder.is_relative_to(root) for folder in folders):
            raise FileNotFoundError(f"{root}: no {RECORD}, so nobody knows what it saw; run `dvc repro -f dreambooth`")
    return Evidence(
        photos=photos,
        images=images,
        files=files,
        synthetic_ids=[image.id for _, image in generated],
        synthetic=np.stack(pixels) if pixels else images[:0],
        records={folder.as_posix(): read_record(folder) for folder in (args.base, *folders)},
        prepared=read_json(args.report),
    )


def read_truth(params: Path, photos: list[Photo], files: dict[str, str]) -> dict[str, str] | None:
    """The class that each phantom photo shows, which label noise hides; None for any other photos."""
    if "phantom" not in read_params(params):
        return None
    teats = plan_teats(read_section(params, "phantom", PhantomParams))
    shown = {f"{teat.split}/{teat.label}/{teat.udder}_{teat.position}.png": CLASSES[teat.score - 1] for teat in teats}
    is_phantom = all(files[photo.id] in shown for photo in photos)
    return {photo.id: shown[files[photo.id]] for photo in photos} if is_phantom else None


if __name__ == "__main__":
    run_stage(main)
