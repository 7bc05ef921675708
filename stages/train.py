"""train: train one classifier on one data set, once for each of its seeds."""

import _source  # noqa: F401

import argparse
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdaug.classify.models import save_model
from sdaug.classify.params import PRIOR_CORRECTED
from sdaug.classify.scores import correct_prior, score
from sdaug.common.checkpoint import Checkpoint, resumable_dir, work_key
from sdaug.common.device import prepare_device
from sdaug.common.files import fresh_dir, read_json, write_csv, write_json
from sdaug.common.packed import IMAGES, Packed, read_packed, read_pixels
from sdaug.common.params import Square, read_arm, read_seeds
from sdaug.common.sections import convert, read_section
from sdaug.common.stage import run_stage
from sdaug.common.tracking import track
from sdaug.train.examples import packed_training
from sdaug.train.params import SCTL, ArmTraining, Recipe, SctlParams, TrainParams, read_recipe, read_sctl
from sdaug.train.selection import Trained
from sdaug.train.training import train_classifier
from sdaug.train.transductive import Transduction


def main() -> None:
    args = parse_args()
    # Settings and data. Those of `prepare` are stored with the model, so that `sdaug predict` prepares photos likewise.
    settings = Settings(
        recipe=read_recipe(args.params, args.model, args.dataset),
        arm=read_arm(args.params, args.dataset, "training", ArmTraining),
        train=read_section(args.params, "train", TrainParams),
        sctl=read_sctl(args.params, args.model),
        square=read_prepared(args.params, "square", Square),
        sixteen_bit_maximum=read_prepared(args.params, "sixteen_bit_maximum", int | None),
    )
    classes = read_section(args.params, "classes", list[str])
    seeds = read_seeds(args.params, args.model)
    data = read_packed(args.data, classes)
    require_every_class(data, classes, args.data)
    # Pixels of test photos without their labels, for a classifier that is transductive; this stage reads no others.
    transduction = settings.sctl and Transduction(settings=settings.sctl, images=read_pixels(args.unlabelled / IMAGES))

    # Train. Each seed has the synthetic images of one draw, so that the seeds' scores vary with both. What a stopped
    # run has finished is there already.
    prepare_device(settings.train.num_threads)
    key = work_key({**asdict(settings), "classes": classes, "seeds": seeds}, [args.data, args.unlabelled])
    with (
        resumable_dir(args.out, key) as out_dir,
        fresh_dir(args.metrics) as metrics_dir,
        fresh_dir(args.history) as history_dir,
    ):
        for place, seed in enumerate(seeds):
            draw = data.draws[place % len(data.draws)] if data.draws else None
            run = {"model": args.model, "dataset": args.dataset, "seed": seed, "draw": draw}
            results_file = out_dir / f".{seed}.json"
            if not (out_dir / str(seed)).is_dir():
                checkpoint = Checkpoint(out_dir / f".{seed}.pt")
                trained = train_seed(run, settings, data, classes, args.data, checkpoint, transduction)
                found = {**run, **describe(trained, data, classes, draw)}
                write_json(results_file, {"metrics": found, "history": trained.history})
                save_whole(out_dir / str(seed), trained)
                checkpoint.clear()
            results = read_json(results_file)
            write_json(metrics_dir / f"{seed}.json", results["metrics"])
            write_csv(history_dir / f"{seed}.csv", results["history"])


def save_whole(folder: Path, trained: Trained) -> None:
    """Write the model; the folder gets its name when it is whole."""
    scratch = folder.with_name(f".{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    save_model(scratch, trained.weights, trained.card)
    scratch.replace(folder)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How all seeds of a model are trained."""

    recipe: Recipe
    arm: ArmTraining
    train: TrainParams
    sctl: SctlParams | None
    square: Square
    sixteen_bit_maximum: int | None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--unlabelled", type=Path, required=True, help="folder of test photos without labels, or none")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights, with a folder per seed")
    parser.add_argument("--metrics", type=Path, required=True, help="folder for a JSON file per seed")
    parser.add_argument("--history", type=Path, required=True, help="folder for a CSV file per seed")
    return parser.parse_args()


def read_prepared(params: Path, key: str, kind: Any) -> Any:
    """One setting of section `prepare`; the stage does not depend on the others."""
    return convert(read_section(params, f"prepare.{key}", object), kind, f"{params}: prepare.{key}")


def require_every_class(data: Packed, classes: list[str], where: Path) -> None:
    """Raise ValueError if a class has no training image."""
    labels = data.labels[data.parts == "train"]
    absent = [label for k, label in enumerate(classes) if k not in labels]
    if absent:
        raise ValueError(f"{where}: no training image of {absent[0]}; each class needs one, see datasets.images")


def train_seed(
    run: dict[str, Any],
    settings: Settings,
    data: Packed,
    classes: list[str],
    where: Path,
    checkpoint: Checkpoint,
    transduction: Transduction | None,
) -> Trained:
    """Train with one seed on the photos and the synthetic images of one draw, and log it."""
    training, validation = packed_training(data, run["draw"]), data.part("validation", run["draw"])
    knobs = {"recipe": asdict(settings.recipe), "arm": asdict(settings.arm), "train": asdict(settings.train)}
    knobs |= {SCTL: asdict(settings.sctl)} if settings.sctl else {}
    with track({**run, **knobs}, {"data": where}, part=f"seed {run['seed']}") as log:
        trained = train_classifier(
            training,
            validation,
            classes,
            recipe=settings.recipe,
            arm=settings.arm,
            shared=settings.train,
            seed=run["seed"],
            device=prepare_device(settings.train.num_threads),
            square=settings.square,
            sixteen_bit_maximum=settings.sixteen_bit_maximum,
            report=log.metrics,
            title=f"{run['model']} on {run['dataset']}, seed {run['seed']}",
            checkpoint=checkpoint,
            transduction=transduction,
        )
        # What MLflow shows of the kept epoch; with `split.fold: none` there is no validation.
        log.metrics(trained.best_epoch, {f"best_validation_{name}": value for name, value in trained.best.items()})
        if log.is_on and len(validation[1]):
            from sdaug.train.confusion import draw_confusion  # imports matplotlib, which would slow down every start

            log.picture("confusion.png", draw_confusion(trained.predicted, validation[1], classes))
        log.history(trained.history)
    return trained


def describe(trained: Trained, data: Packed, classes: list[str], draw: int | None) -> dict[str, Any]:
    """What the report reads: the kept epoch, its scores, and what the run has seen."""
    rows = data.rows("train", draw)
    labels, is_real = data.labels[rows], data.origins[rows] == "real"
    views = np.bincount(labels, weights=trained.num_views, minlength=len(classes))
    real = np.bincount(labels, weights=trained.num_views * is_real, minlength=len(classes))
    # How common each class was to the loss: what a classifier takes for its frequency.
    exposure = np.bincount(labels, weights=trained.exposure, minlength=len(classes))
    prior = exposure / exposure.sum()
    # Validation scores for equally common classes, by which the report may choose that remedy.
    truth = data.labels[data.rows("validation", draw)]
    corrected = score(correct_prior(trained.predicted, prior), truth) if trained.best else {}
    return {
        "best_epoch": trained.best_epoch,
        "num_train": len(rows),
        "num_validation": len(truth),
        "num_views": {label: int(count) for label, count in zip(classes, views, strict=True)},
        "num_real_views": {label: int(count) for label, count in zip(classes, real, strict=True)},
        "prior": {label: float(share) for label, share in zip(classes, prior, strict=True)},
        **{f"validation_{name}": value for name, value in trained.best.items()},
        **{f"{PRIOR_CORRECTED}_validation_{name}": value for name, value in corrected.items()},
    }


if __name__ == "__main__":
    run_stage(main)
