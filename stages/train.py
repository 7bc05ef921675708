"""train: train one classifier on one data set with one seed."""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sdaug.classify.models import save_model
from sdaug.classify.params import ArmTraining, TrainParams, read_recipe
from sdaug.common.device import prepare_device
from sdaug.common.files import fresh_dir, write_csv, write_json
from sdaug.common.packed import Packed, read_packed
from sdaug.common.params import Square
from sdaug.common.sections import convert, read_section
from sdaug.common.stage import run_stage
from sdaug.common.tracking import track
from sdaug.train.training import train_classifier


def main() -> None:
    args = parse_args()
    # Recipe and data.
    recipe = read_recipe(args.params, args.model, args.dataset)
    arm = read_section(args.params, f"datasets.{args.dataset}.training", ArmTraining)
    shared = read_section(args.params, "train", TrainParams)
    # Stored with the model, so that `sdaug predict` makes photos square in the same way.
    square: Square = convert(read_section(args.params, "prepare.square", str), Square, f"{args.params}: prepare.square")
    classes = read_section(args.params, "classes", list[str])
    data = read_packed(args.data, classes)
    require_every_class(data, classes, args.data)
    training, validation = data.part("train"), data.part("validation")

    # Train.
    run = {"model": args.model, "dataset": args.dataset, "seed": args.seed}
    knobs = {"recipe": asdict(recipe), "arm": asdict(arm), "train": asdict(shared)}
    with track({**run, **knobs}, {"data": args.data}) as log:
        trained = train_classifier(
            training,
            validation,
            classes,
            recipe=recipe,
            arm=arm,
            shared=shared,
            seed=args.seed,
            device=prepare_device(shared.num_threads),
            square=square,
            report=log.metrics,
            title=f"{args.model} on {args.dataset}",
        )
        with fresh_dir(args.out) as out_dir:
            save_model(out_dir, trained.weights, trained.card)

        # What MLflow shows of the kept epoch; with `split.fold: none` there is no validation.
        scores = {f"validation_{name}": value for name, value in trained.best.items()}
        log.metrics(trained.best_epoch, {f"best_{name}": value for name, value in scores.items()})
        if log.is_on and len(validation[1]):
            from sdaug.train.confusion import draw_confusion  # imports matplotlib, which would slow down every start

            log.picture("confusion.png", draw_confusion(trained.predicted, validation[1], classes))

    # What the report reads.
    parts = {f"num_{part}": int(np.sum(data.parts == part)) for part in ("train", "validation")}
    write_json(args.metrics, {**run, "best_epoch": trained.best_epoch, **parts, **scores})
    write_csv(args.history, trained.history)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    return parser.parse_args()


def require_every_class(data: Packed, classes: list[str], where: Path) -> None:
    """Raise ValueError if a class has no training image."""
    _, labels = data.part("train")
    absent = [label for k, label in enumerate(classes) if k not in labels]
    if absent:
        raise ValueError(f"{where}: no training image of {absent[0]}; each class needs one, see datasets.images")


if __name__ == "__main__":
    run_stage(main)
