"""train: one classifier on one data set with one seed."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sdaug.classify.models import save_model
from sdaug.classify.recipe import ArmTraining, ClassifierParams, TrainParams, resolve_recipe
from sdaug.classify.training import train_classifier
from sdaug.data.packed import read_packed
from sdaug.device import prepare_device
from sdaug.files import fresh_dir, write_csv, write_json
from sdaug.images import Square
from sdaug.params import convert, read_section
from sdaug.stage import run_stage
from sdaug.tracking import track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    args = parser.parse_args()

    key = f"classifiers.{args.model}"
    classifier = read_section(args.params, key, ClassifierParams)
    recipe = resolve_recipe(classifier, args.dataset, where=f"{args.params}: {key}")
    arm = read_section(args.params, f"datasets.{args.dataset}.training", ArmTraining)
    shared = read_section(args.params, "train", TrainParams)
    classes = read_section(args.params, "classes", list[str])
    data = read_packed(args.data, classes)
    training, validation = data.part("train"), data.part("validation")
    absent = [label for k, label in enumerate(classes) if k not in training[1]]
    if absent:
        raise ValueError(f"{args.data}: no training image of {absent[0]}; each class needs one, see datasets.images")

    square: Square = convert(read_section(args.params, "prepare.square", str), Square, f"{args.params}: prepare.square")

    knobs = {"recipe": asdict(recipe), "arm": asdict(arm), "train": asdict(shared), "seed": args.seed}
    with track({"model": args.model, "dataset": args.dataset, **knobs}, {"data": args.data}) as log:

        def report(epoch: int, values: Mapping[str, float]) -> None:
            log.metrics(epoch, values)

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
            report=report,
            title=f"{args.model} on {args.dataset}",
        )
        with fresh_dir(args.out) as out_dir:
            save_model(out_dir, trained.weights, trained.card)
        final = {f"validation_{name}": value for name, value in trained.best.items()}
        log.metrics(trained.best_epoch, {f"best_{name}": value for name, value in final.items()})
        if log.is_on and len(validation[1]):
            from sdaug.classify.confusion import draw_confusion  # matplotlib, which need not delay the start

            log.picture("confusion.png", draw_confusion(trained.predicted, validation[1], classes))
    parts = {f"num_{part}": int(np.sum(data.parts == part)) for part in ("train", "validation")}
    run = {"model": args.model, "dataset": args.dataset, "seed": args.seed, "best_epoch": trained.best_epoch}
    write_json(args.metrics, {**run, **parts, **final})
    write_csv(args.history, trained.history)


if __name__ == "__main__":
    run_stage(main)
