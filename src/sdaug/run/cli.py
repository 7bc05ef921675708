"""The command line `sdaug`: what a user does besides `dvc repro`."""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.check.study import check_study
from sdaug.common.params import Square
from sdaug.common.sections import convert, read_params
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import find_synthetic
from sdaug.photos.decode import UnreadablePhotoError, decode_photo
from sdaug.photos.summary import NUM_NAMED
from sdaug.run.adopt import (
    GRAPH,
    PARAMS,
    PHANTOM_DIR,
    RARE_BELOW,
    TEATS,
    Survey,
    adopted_graph,
    adopted_params,
    default_group_pattern,
    refuse_unsaved,
    survey_folder,
    survey_teats,
    unpacked,
    write_adopted,
)
from sdaug.run.grid import find_changes, run_grid
from sdaug.run.mlflow_sync import sync_mlflow

PRESETS, CURRENT = Path("presets"), "current"
PREPARED_DIR, SYNTHETIC_DIR = Path("data/prepared"), Path("data/synthetic")
BASE_DIR, GENERATORS_DIR = Path("models/base"), Path("models/dreambooth")


def main(words: Sequence[str] | None = None) -> None:
    """Run the `sdaug` command line on `words`, or on the arguments of the process."""
    parser = argparse.ArgumentParser(prog="sdaug", description=__doc__)
    commands = parser.add_subparsers(required=True)
    # Setting up a study.
    adopt = commands.add_parser("adopt", help="turn this checkout into a study of your own photos")
    adopt.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="folder of class folders, or with train/, val/ and test/ of such; or a zip or tar archive of it",
    )
    adopt.add_argument(
        "--preset",
        default="photos-cpu",
        help="photos-cpu (default), another file in presets/, or current to keep the settings of params.yaml",
    )
    adopt.add_argument("--subject", help="what the photos show, used in the prompts, such as 'coffee leaf'")
    adopt.add_argument("--group-pattern", help="regular expression for what file names of one individual share")
    adopt.add_argument("--classes", help="comma-separated classes in score order (default: sorted by name)")
    adopt.add_argument(
        "--drop", action="append", default=[], metavar="CLASS", help="leave a class out; may be given several times"
    )
    adopt.add_argument(
        "--rare-below",
        type=float,
        default=RARE_BELOW,
        help="a class is rare, and gets a generator, if it has less than this share of the photos of the largest "
        f"(default: {RARE_BELOW})",
    )
    adopt.add_argument("--unpack-to", type=Path, help="folder for the photos of an archive (default: data/raw/NAME)")
    adopt.set_defaults(run=run_adopt)
    # Running it.
    grid = commands.add_parser("grid", help="like dvc repro, with several training runs at once")
    grid.add_argument("-j", "--jobs", type=int, default=2, help="number of runs at once (default: 2)")
    grid.add_argument("--jobs-per-gpu", type=int, default=1, help="number of generators at once on a GPU (default: 1)")
    grid.set_defaults(run=lambda args: run_grid(args.jobs, args.jobs_per_gpu))
    sync = commands.add_parser("mlflow-sync", help="import into MLflow what it missed, from the histories on disk")
    sync.set_defaults(run=run_sync)
    # Using its classifiers and generators.
    predict = commands.add_parser("predict", help="print class probabilities for any photos, as CSV")
    predict.add_argument(
        "model", type=Path, help="folder of trained weights, such as models/classifiers/vit-augmented/0"
    )
    predict.add_argument("photos", type=Path, nargs="+", help="JPEG, PNG, WebP, TIFF or BMP files")
    predict.set_defaults(run=run_predict)
    redraw = commands.add_parser("redraw", help="draw a synthetic image again from its manifest row")
    redraw.add_argument("id", help="id in data/synthetic/CLASS/manifest.csv, such as synthetic-0123456789")
    redraw.add_argument("--out", type=Path, help="PNG file to write (default: ID.png)")
    redraw.set_defaults(run=run_redraw)
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
    print(f"{len(synced.imported)} run(s) imported, {len(synced.present)} were there")
    if synced.outdated:
        print(f"passed over, since params, data or code have changed: {', '.join(synced.outdated)}; `dvc repro` first")


def run_adopt(args: argparse.Namespace) -> None:
    """Survey the folder, print its counts, check everything, then write params.yaml and dvc.yaml."""
    preset = PARAMS if args.preset == CURRENT else PRESETS / f"{args.preset}.yaml"
    if not preset.is_file():
        known = ", ".join([CURRENT, *sorted(path.stem for path in PRESETS.glob("*.yaml"))])
        raise FileNotFoundError(f"{preset}: no such preset; choose from {known} (run in the root of the checkout)")
    # Never over changes that are not in Git.
    refuse_unsaved([PARAMS, GRAPH])
    # Read and check everything first, so that a refusal leaves both files as they were.
    with _surveyed(args) as survey:
        _show(survey, args.rare_below)
        pattern = args.group_pattern or default_group_pattern(survey)
        params = adopted_params(preset, survey, subject=args.subject, group_pattern=pattern, rare_below=args.rare_below)
        check_study(params, PARAMS)
        graph = adopted_graph(
            GRAPH, list(params["concepts"]), is_phantom=survey.folder == PHANTOM_DIR, is_teats=args.preset == TEATS
        )
        write_adopted(params, graph)
    print(f"Wrote {PARAMS} and {GRAPH}. Next: review them with `git diff`, then run `dvc repro`.")


def run_predict(args: argparse.Namespace) -> None:
    """Print a header and one row per photo, in the given order; print nothing if any photo cannot be read."""
    # Imported here: importing torch alone takes 1.8 s (LOG.md, 2026-11-23), which `grid` and `adopt` save.
    from sdaug.classify.inference import predict
    from sdaug.classify.models import load_model
    from sdaug.common.device import prepare_device

    model, card = load_model(args.model, prepare_device())
    photos = [_read_photo(path, size_pixels=card.prepared_pixels, square=card.square) for path in args.photos]
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file", "class", *(f"p_{label}" for label in card.classes)])
    for path, probabilities in zip(args.photos, predict(model, np.stack(photos), card), strict=True):
        rows.writerow([path, card.classes[probabilities.argmax()], *(f"{p:.6f}" for p in probabilities)])


def _read_photo(path: Path, *, size_pixels: int, square: Square) -> NDArray[np.uint8]:
    try:
        return decode_photo(path.read_bytes(), size_pixels=size_pixels, square=square)
    except OSError as error:
        raise FileNotFoundError(f"{path}: cannot be read ({error.strerror}); give image files, not folders") from error
    except UnreadablePhotoError as error:
        raise ValueError(f"{path}: {error}; repair it or leave it out") from error


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


@contextmanager
def _surveyed(args: argparse.Namespace) -> Iterator[Survey]:
    if args.preset == TEATS and args.folder is None:
        # Counted from the table of labels: the photos come only when the stage `teats` runs.
        yield survey_teats()
        return
    if args.folder is None:
        raise ValueError("adopt: no folder given; run `sdaug adopt FOLDER`, with one subfolder of photos per class")
    with unpacked(args.folder, args.unpack_to) as folder:
        yield survey_folder(folder, args.classes.split(",") if args.classes else None, args.drop)


def _show(survey: Survey, rare_below: float) -> None:
    largest = max(survey.counts.values(), default=0)
    validation = f", validation set given ({survey.num_validation} photos)" if survey.num_validation else ""
    print(
        f"{survey.folder}: {len(survey.counts)} classes, test set {'given' if survey.has_test else 'to be made'}"
        f"{validation}"
    )
    width = max(map(len, survey.counts), default=0)
    for label, count in survey.counts.items():
        lack = f"lacks {largest - count}"
        kind = "the largest" if count == largest else f"rare, {lack}" if count < rare_below * largest else lack
        name = f"  folder {survey.class_folders[label]}" if label in survey.class_folders else ""
        print(f"  {label:{width}}  {count:6} training photos  {kind}{name}")
    if survey.left_out:
        print(f"  left out: {', '.join(survey.left_out)}")
    if survey.num_ignored:
        print(f"  not photos of these classes: {survey.num_ignored} files")
    for item in survey.unused[:NUM_NAMED]:
        print(f"  not read: {item.shown}: {item.reason}")
    if len(survey.unused) > NUM_NAMED:
        print(f"  not read: {len(survey.unused) - NUM_NAMED} more")
