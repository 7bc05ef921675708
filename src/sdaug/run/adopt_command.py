"""The command `sdaug adopt`: turns a checkout into a study of someone's photos."""

import argparse
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdaug.check.batch_sizes import lower_batches, num_training
from sdaug.check.study import check_study
from sdaug.photos.folder_layout import LabelTable, Layout
from sdaug.photos.prepare import suggest_seed
from sdaug.run.adopt import (
    PHANTOM_DIR,
    RARE_BELOW,
    TEATS_DIR,
    adopted_params,
    default_group_pattern,
    keep_out_of_git,
    refuse_unsaved,
    survey_teats,
    unpacked,
    write_adopted,
)
from sdaug.run.graph import GRAPH, PARAMS, TEATS, adopted_graph
from sdaug.run.survey import Survey, describe_groups, describe_survey, refuse_masks, survey_folder
from sdaug.run.words import clean_subject, find_mirrored, prompts_of

PRESETS, CURRENT = Path("presets"), "current"


def add_adopt(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `adopt` to the subparsers of the command line."""
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
    adopt.set_defaults(run=_run_adopt)


def _run_adopt(args: argparse.Namespace) -> None:
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
            further=study.further_stages(),
            external=list(study.external),
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
