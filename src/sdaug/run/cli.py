"""The command line `sdaug`: what a user does besides `dvc repro`."""

import argparse
import csv
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sdaug.check.batches import lower_batches, num_training
from sdaug.check.study import check_study
from sdaug.common.sections import convert, read_params
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import find_synthetic
from sdaug.photos.decode import decode_photo
from sdaug.photos.formats import NAMES, UnreadablePhotoError
from sdaug.photos.layout import LabelTable, Layout
from sdaug.photos.prepare import suggest_seed
from sdaug.run.adopt import (
    GRAPH,
    PARAMS,
    PHANTOM_DIR,
    RARE_BELOW,
    TEATS,
    TEATS_DIR,
    adopted_graph,
    adopted_params,
    default_group_pattern,
    keep_out_of_git,
    refuse_unsaved,
    survey_teats,
    unpacked,
    write_adopted,
)
from sdaug.run.compare import compare
from sdaug.run.grid import find_changes, run_grid
from sdaug.run.mlflow_sync import sync_mlflow
from sdaug.run.plan import add_plan
from sdaug.run.survey import Survey, describe_groups, describe_survey, refuse_masks, survey_folder
from sdaug.run.words import clean_subject, find_mirrored, prompts_of

if TYPE_CHECKING:  # imports torch
    from sdaug.classify.models import ModelCard

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
    adopt.add_argument(
        "--group-pattern", help="regular expression for what the paths below the class folder of one individual share"
    )
    adopt.add_argument("--groups", type=Path, help="CSV file with columns file and group, in place of a pattern")
    adopt.add_argument("--classes", help="comma-separated classes in score order (default: sorted by name)")
    adopt.add_argument("--class-level", type=int, help="how many folders down the classes are (default: found out)")
    adopt.add_argument("--labels", type=Path, help="CSV file that names the class of each photo, for a flat folder")
    adopt.add_argument("--file-column", default="file", help="column of --labels with file names (default: file)")
    adopt.add_argument("--label-column", help="column of --labels with classes (default: label)")
    adopt.add_argument("--label-columns", help="comma-separated columns of --labels, one per class, the largest counts")
    adopt.add_argument("--group-column", help="column of --labels with the individual")
    adopt.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out files and folders such as '*_mask.png'; may be given several times",
    )
    adopt.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="whether a mirrored photo still shows its class; with --no-flip nothing is mirrored",
    )
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
        print(describe_survey(survey, args.rare_below))
        own = survey.folder not in (PHANTOM_DIR, TEATS_DIR)
        if own:
            _ask(args, survey)
        params = adopted_params(
            preset,
            survey,
            subject=clean_subject(args.subject) if args.subject is not None else None,
            group_pattern=None if args.groups else args.group_pattern or default_group_pattern(survey),
            groups=args.groups,
            rare_below=args.rare_below,
            flip=args.flip is not False,
        )
        if own:
            print("".join(_fit_batches(params, survey)), end="")
        study = check_study(params, PARAMS)
        if own:  # the others have their seeds in the presets: stages write these photos
            print(describe_groups(survey, study.prepare))
            params["prepare"]["seed"] = suggest_seed(study.prepare, study.classes)
        tables = [table for table in (args.labels, args.groups) if table]
        graph = adopted_graph(
            GRAPH,
            list(params["concepts"]),
            is_phantom=survey.folder == PHANTOM_DIR,
            is_teats=args.preset == TEATS,
            tables=tables,
        )
        write_adopted(params, graph)
        said = keep_out_of_git(survey.folder) if own else None
    if said:
        print(said)
    print("\n".join(["prompts:", *(f"  {prompt}" for prompt in prompts_of(params))]))
    print(f"Wrote {PARAMS} and {GRAPH}. Next: review them with `git diff`, then run `dvc repro`.")


def _fit_batches(params: MutableMapping[str, Any], survey: Survey) -> list[str]:
    """Lower what is too large for few photos."""
    prepare = params["prepare"]
    most = num_training(
        survey.sources,
        is_made=prepare["split"] == "made",
        test_fraction=prepare["test_fraction"],
        num_folds=prepare["num_folds"],
    )
    return [f"{line}\n" for line in lower_batches(params, most)]


def _ask(args: argparse.Namespace, survey: Survey) -> None:
    """Ask for what nobody can find out from photos.

    Raises:
        ValueError: an answer is missing.
    """
    if not [pattern for pattern in args.ignore if not pattern]:
        refuse_masks(survey)
    if args.subject is None and args.preset != CURRENT:
        raise ValueError(
            "--subject: what do the photos show? It goes into every prompt; say it in a few words, such as --subject "
            "'coffee leaf'"
        )
    mirrored = find_mirrored([survey.layout.name_of(label) for label in survey.counts])
    if mirrored and args.flip is None:
        one, other = mirrored[0]
        raise ValueError(
            f"classes {one} and {other}: does a mirrored photo of one show the other? Then give --no-flip, and nothing "
            "is mirrored in training; else give --flip"
        )


def run_predict(args: argparse.Namespace) -> None:
    """Print a header and one row per photo, in the given order; print nothing if any photo cannot be read."""
    # Imported here: importing torch alone takes 1.8 s (LOG.md, 2026-11-23), which `grid` and `adopt` save.
    from sdaug.classify.inference import predict
    from sdaug.classify.models import load_model
    from sdaug.common.device import prepare_device

    model, card = load_model(args.model, prepare_device())
    photos = [_read_photo(path, card) for path in args.photos]
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["file", "class", *(f"p_{label}" for label in card.classes)])
    for path, probabilities in zip(args.photos, predict(model, np.stack(photos), card), strict=True):
        rows.writerow([path, card.classes[probabilities.argmax()], *(f"{p:.6f}" for p in probabilities)])


def _read_photo(path: Path, card: "ModelCard") -> NDArray[np.uint8]:
    """The photo `(H, W, 3)` as `prepare` made those that the model has learnt from."""
    try:
        return decode_photo(
            path.read_bytes(),
            size_pixels=card.prepared_pixels,
            square=card.square,
            sixteen_bit_maximum=card.sixteen_bit_maximum,
        )
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
    labels = None
    if args.labels:
        columns = args.label_columns.split(",") if args.label_columns else []
        labels = LabelTable(
            table=args.labels,
            file_column=args.file_column,
            label_column=None if columns else args.label_column or "label",
            label_columns=columns,
            group_column=args.group_column,
        )
    layout = Layout(left_out=args.drop, ignore=[pattern for pattern in args.ignore if pattern], labels=labels)
    order = args.classes.split(",") if args.classes else None
    with unpacked(args.folder, args.unpack_to) as folder:
        yield survey_folder(folder, order, layout, class_level=args.class_level)
