"""Draw the phantom data set: simulated photos of teat ends, as train/ and test/ folders by score."""

import argparse
from pathlib import Path

from sdaug.data.phantom import PhantomParams, write_phantom
from sdaug.files import fresh_dir
from sdaug.params import read_section
from sdaug.stage import run_stage


def main() -> None:
    """Read section `phantom`, draw the photos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="file with the section phantom")
    parser.add_argument("--out", type=Path, required=True, help="folder for train/score_N/ and test/score_N/")
    args = parser.parse_args()

    params = read_section(args.params, "phantom", PhantomParams)
    with fresh_dir(args.out) as out_dir:
        write_phantom(params, out_dir)


if __name__ == "__main__":
    run_stage(main)
