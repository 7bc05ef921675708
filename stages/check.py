"""check: the whole of params.yaml, before anything slow has started."""

import argparse
from pathlib import Path

from sdaug.classify.models import check_model
from sdaug.classify.recipe import resolve_recipe
from sdaug.device import prepare_device
from sdaug.files import write_json
from sdaug.params import read_params
from sdaug.stage import run_stage
from sdaug.study import check_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    study = check_study(read_params(args.params), args.params)
    prepare_device()
    for model, classifier in study.classifiers.items():
        check_model(classifier, study.classes)
        for dataset in classifier.by_dataset:
            recipe = resolve_recipe(classifier, dataset, where=f"{args.params}: classifiers.{model}")
            check_model(recipe, study.classes)
    # Always the same bytes: that a knob has changed must reach only the stages that read it.
    write_json(args.out, {"params": "valid"})


if __name__ == "__main__":
    run_stage(main)
