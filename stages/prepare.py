"""prepare: check, square and split raw photos; a folder of class folders becomes images named by id and a manifest."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.files import write_json
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.photos.params import PrepareParams
from sdaug.photos.prepare import CopyLimits, prepare
from sdaug.photos.prepare_summary import describe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True, help="folder for images/ and manifest.csv")
    parser.add_argument("--names", type=Path, required=True, help="CSV file for the file name of each id")
    parser.add_argument("--report", type=Path, required=True, help="JSON file for the counts")
    args = parser.parse_args()

    params = read_section(args.params, "prepare", PrepareParams)
    classes = read_section(args.params, "classes", list[str])
    limits = CopyLimits(
        hash_distance=read_section(args.params, "audit.hash_distance", int),
        copy_correlation=read_section(args.params, "audit.copy_correlation", float),
    )
    report = prepare(params, classes, args.out, limits=limits, names_file=args.names)
    write_json(args.report, report)
    print(describe(report, classes))


if __name__ == "__main__":
    run_stage(main)
