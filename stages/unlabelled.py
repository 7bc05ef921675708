"""unlabelled: hand the pixels of the test photos, without labels, to transductive classifiers and no others."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.files import fresh_dir, read_json
from sdaug.common.packed import read_pixels
from sdaug.common.stage import run_stage
from sdaug.datasets.unlabelled import write_unlabelled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=Path, required=True, help="JSON file that says how each classifier learns")
    parser.add_argument("--images", type=Path, required=True, help="pixels of the test photos")
    parser.add_argument("--out", type=Path, required=True, help="folder with a folder per classifier")
    args = parser.parse_args()

    with fresh_dir(args.out) as out_dir:
        write_unlabelled(out_dir, read_pixels(args.images), read_json(args.methods))


if __name__ == "__main__":
    run_stage(main)
