"""phantom: draw simulated photos of teat ends into train/ and test/ folders by score."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.files import fresh_dir
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.phantom.params import PhantomParams
from sdaug.phantom.photos import write_phantom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="file with the phantom section")
    parser.add_argument("--out", type=Path, required=True, help="folder for train/score_N/ and test/score_N/")
    args = parser.parse_args()

    params = read_section(args.params, "phantom", PhantomParams)
    with fresh_dir(args.out) as out_dir:
        write_phantom(params, out_dir)


if __name__ == "__main__":
    run_stage(main)
