"""report: write the verdict as a summary of all runs and a folder of tables, pictures and a page."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.files import write_json
from sdaug.common.stage import run_stage
from sdaug.common.tracking import tell_missed
from sdaug.verdict.decide import decide
from sdaug.verdict.inputs import Sources, read_inputs
from sdaug.verdict.render import render_text
from sdaug.verdict.report import write_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True, help="prepared photos")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder with synthetic images of each concept")
    parser.add_argument("--external", type=Path, required=True, help="imported images")
    parser.add_argument("--steps", type=Path, required=True, help="folder of examples of each step to an image")
    parser.add_argument("--metrics", type=Path, required=True, help="folder of all stages' metrics")
    parser.add_argument("--closest-pairs", type=Path, help="CSV file of generated images and their nearest photos")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--summary", type=Path, required=True, help="JSON file for the summary")
    args = parser.parse_args()

    inputs = read_inputs(
        Sources(
            params=args.params,
            prepared=args.prepared,
            synthetic=args.synthetic,
            imported=args.external,
            steps=args.steps,
            metrics=args.metrics,
            closest_pairs=args.closest_pairs,
        )
    )
    verdict = decide(inputs)
    write_report(args.out, inputs, verdict)
    write_json(args.summary, verdict.summary)
    print(render_text(verdict), f"Page and pictures: {args.out / 'index.html'}", sep="\n")
    tell_missed()


if __name__ == "__main__":
    run_stage(main)
