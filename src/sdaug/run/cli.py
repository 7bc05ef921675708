"""The command line `sdaug`: what a user does besides `dvc repro`."""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sdaug.common.sections import convert, read_params
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import find_synthetic
from sdaug.page.classifier_photo import read_photo
from sdaug.photos.formats import NAMES
from sdaug.run.adopt_command import add_adopt
from sdaug.run.compare import compare
from sdaug.run.external_command import add_external
from sdaug.run.graph import PARAMS, add_stages
from sdaug.run.grid import find_changes
from sdaug.run.grid_command import add_grid
from sdaug.run.mlflow_sync import sync_mlflow
from sdaug.run.page_command import add_page
from sdaug.run.plan_command import add_plan
from sdaug.run.records_command import add_records

PREPARED_DIR, SYNTHETIC_DIR = Path("data/prepared"), Path("data/synthetic")
BASE_DIR, GENERATORS_DIR = Path("models/base"), Path("models/dreambooth")


def main(words: Sequence[str] | None = None) -> None:
    """Run the `sdaug` command line on `words`, or on the arguments of the process."""
    parser = argparse.ArgumentParser(prog="sdaug", description=__doc__)
    commands = parser.add_subparsers(required=True)
    add_adopt(commands)
    add_external(commands)
    add_stages(commands)
    # Running it.
    add_grid(commands)
    other = commands.add_parser("compare", help="scores here and in another revision, if both have one test set")
    other.add_argument("revision", help="a branch, tag or commit of the study")
    other.set_defaults(run=lambda args: print(compare(args.revision)))
    add_plan(commands)
    sync = commands.add_parser("mlflow-sync", help="import into MLflow what it missed, from the histories on disk")
    sync.set_defaults(run=run_sync)
    # Using its classifiers and generators.
    predict = commands.add_parser("predict", help="print class probabilities for any photos, as CSV")
    predict.add_argument(
        "model", type=Path, help="folder of trained weights, such as models/classifiers/vit-augmented/0"
    )
    predict.add_argument("photos", type=Path, nargs="+", help=f"{NAMES} files")
    predict.set_defaults(run=run_predict)
    redraw = commands.add_parser("redraw", help="draw a synthetic image again from its manifest row")
    redraw.add_argument("id", help="id in data/synthetic/CLASS/manifest.csv, such as synthetic-0123456789")
    redraw.add_argument("--out", type=Path, help="PNG file to write (default: ID.png)")
    redraw.set_defaults(run=run_redraw)
    add_records(commands)
    add_page(commands)
    # Making the base that is shipped.
    pretrain = commands.add_parser("pretrain", help="train the small Stable Diffusion in pretrained/ again: hours")
    pretrain.add_argument("--params", type=Path, default=Path("pretrained/params.yaml"))
    pretrain.add_argument("--out", type=Path, default=Path("pretrained/small"))
    pretrain.add_argument("--work", type=Path, default=Path(".work/pretrain"), help="folder for images and checkpoints")
    pretrain.add_argument("--threads", type=int, help="on a CPU (default: all cores)")
    pretrain.set_defaults(run=run_pretrain)
    # As in a stage, an error of the user is one line on stderr.
    args = parser.parse_args(words)
    run_stage(lambda: args.run(args))


def run_sync(_: argparse.Namespace) -> None:
    """Import into MLflow the runs that it lacks."""
    synced = sync_mlflow(PARAMS, Path(), find_changes())
    added = f"; data sets or models of {len(synced.completed)} added" if synced.completed else ""
    print(f"{len(synced.imported)} run(s) imported, {len(synced.present)} were there{added}")
    if synced.outdated:
        print(f"passed over, since params, data or code have changed: {', '.join(synced.outdated)}; `dvc repro` first")


def run_predict(args: argparse.Namespace) -> None:
    """Print a header and one row per photo, in the given order; print nothing if any photo cannot be read."""
    # Imported here: importing torch alone takes 1.8 s (python -X importtime), which `grid` and `adopt` save.
    from sdaug.classify.inference import predict
    from sdaug.classify.models import load_model
    from sdaug.common.device import prepare_device

    model, card = load_model(args.model, prepare_device())
    photos = [read_photo(path, card) for path in args.photos]
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file", "class", *(f"p_{label}" for label in card.classes)])
    for path, probabilities in zip(args.photos, predict(model, np.stack(photos), card), strict=True):
        rows.writerow([path, card.classes[probabilities.argmax()], *(f"{p:.6f}" for p in probabilities)])


def run_redraw(args: argparse.Namespace) -> None:
    """Draw one synthetic image again and print how it differs from the existing file."""
    # Imported here, like torch for `predict`.
    from sdaug.common.device import prepare_device
    from sdaug.common.images import read_png, save_png
    from sdaug.diffusion.generators import load_generator
    from sdaug.diffusion.redraw import redraw

    image = find_synthetic(SYNTHETIC_DIR, args.id)
    generator, out = GENERATORS_DIR / image.label / str(image.draw), args.out or Path(f"{args.id}.png")
    if not generator.is_dir():
        raise FileNotFoundError(
            f"{generator}: no such generator; run `dvc pull {generator.parent}` or `dvc repro dreambooth`"
        )
    if out.exists():
        raise ValueError(f"--out: {out}: exists; give another file")
    # Draw.
    pipeline = load_generator(generator, BASE_DIR, prepare_device())
    (pixels,) = redraw(pipeline, [image], PREPARED_DIR, title=image.id)
    save_png(out, pixels)
    # Compare with the study's own image, unless that file is gone.
    known = SYNTHETIC_DIR / image.label / image.file_name
    difference = "unknown, since that file is missing"
    if known.is_file():
        # Signed, since differences of uint8 wrap around. Another processor rounds differently (docs/dvc.md).
        largest = int(np.abs(read_png(known).astype(int) - pixels).max())
        difference = "none, in any pixel" if largest == 0 else f"at most {largest} of 255 per pixel"
    print(f"{out}: seed {image.seed}, prompt {image.prompt!r}; difference from {known}: {difference}")


def run_pretrain(args: argparse.Namespace) -> None:
    """Train the small base, or go on where an interrupted training stopped."""
    # Imported here, like torch for `predict`.
    from sdaug.common.device import prepare_device
    from sdaug.pretrain.params import PretrainParams
    from sdaug.pretrain.pretraining import pretrain

    params = convert(read_params(args.params), PretrainParams, str(args.params))
    pretrain(params, args.work, args.out, prepare_device(args.threads))
    print(f"{args.out}: use it as base.model in params.yaml")
