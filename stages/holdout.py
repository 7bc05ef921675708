"""holdout: pack the test set, on which every classifier is evaluated."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.manifest import read_manifest
from sdaug.common.stage import run_stage
from sdaug.datasets.arms import as_examples
from sdaug.datasets.packing import pack_examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    photos = read_manifest(args.prepared)
    test = [photo for photo in photos if photo.split == "test"]
    # The table has each photo's group, on which the intervals of the report rest.
    pack_examples(as_examples(test, args.prepared / "images", part="test"), photos, args.out)


if __name__ == "__main__":
    run_stage(main)
