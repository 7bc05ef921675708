"""cross_validate: run the whole study on further validation folds, each in a copy of its own, and keep their scores."""

import _source  # noqa: F401

import argparse
import shutil
from pathlib import Path

from sdaug.common.files import fresh_dir, write_text
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.cross_validate.fold_study import METRICS, run_folds
from sdaug.cross_validate.params import CrossValidateParams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--work", type=Path, required=True, help="folder for a copy of the study for each fold")
    parser.add_argument("--out", type=Path, required=True, help="folder for the metrics of all runs, by fold")
    args = parser.parse_args()

    folds = read_section(args.params, "cross_validate", CrossValidateParams).folds
    found = run_folds(Path(), folds, args.work)
    with fresh_dir(args.out) as out_dir:
        if not found:
            write_text(out_dir / "none.txt", "cross_validate.folds is empty\n")
        for fold, metrics in found.items():
            for name in METRICS:
                shutil.copytree(metrics / name, out_dir / str(fold) / name)


if __name__ == "__main__":
    run_stage(main)
