"""teats: unpack the slides' own photos into folders by split and score."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.files import fresh_dir
from sdaug.common.stage import run_stage
from sdaug.photos.teats import unpack_teats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for train/score_N and test/score_N")
    parser.add_argument("archives", type=Path, nargs="+", metavar="ARCHIVE", help="Train_1.zip, Train_2.zip, Test.zip")
    args = parser.parse_args()

    # If an archive is refused, no half of the photos is left.
    with fresh_dir(args.out) as scratch:
        counts = unpack_teats(args.archives, scratch)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))


if __name__ == "__main__":
    run_stage(main)
