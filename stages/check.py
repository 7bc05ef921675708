"""check: validate all of params.yaml, and that the disk can hold the study, before anything slow starts."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.check.batch_sizes import require_batches
from sdaug.check.disk import require_space, write_sizes
from sdaug.check.external_folders import require_external
from sdaug.check.graph_match import require_stages
from sdaug.check.study import check_study
from sdaug.classify.models import check_model
from sdaug.common.device import prepare_device
from sdaug.common.files import write_json
from sdaug.common.params import read_methods
from sdaug.common.sections import read_params
from sdaug.common.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True, help="JSON file for the classes, in their order")
    parser.add_argument("--sizes", type=Path, required=True, help="JSON file for the sizes of classifiers")
    parser.add_argument("--methods", type=Path, required=True, help="JSON file for how each classifier learns")
    parser.add_argument("--graph", type=Path, default=Path("dvc.yaml"), help="which has to have the stages of all arms")
    args = parser.parse_args()
    # The file by itself, and beside dvc.yaml.
    study = check_study(read_params(args.params), args.params)
    require_stages(study, args.params, args.graph)
    require_batches(study, Path())
    require_external(study, args.graph)
    # Each model is built: only that shows an unknown option, or an image size that it does not take.
    prepare_device()
    sizes = {
        model: max(check_model(recipe, study.classes) for recipe in recipes)
        for model, recipes in study.recipes().items()
    }
    require_space(study, sizes, Path())
    write_sizes(args.sizes, sizes)
    write_json(args.classes, {"classes": study.classes})
    write_json(args.methods, read_methods(args.params))
    # Always the same bytes, so that a changed parameter reruns only the stages that read it.
    write_json(args.out, {"params": "valid"})


if __name__ == "__main__":
    run_stage(main)
