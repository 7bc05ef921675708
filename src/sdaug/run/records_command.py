"""`sdaug records`: what lets others use what a finished study made."""

import argparse
import re
from datetime import date
from pathlib import Path

# A name as SPDX has it, in lower case as on the hub, or an address.
LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*|https?://\S+")
ADDRESS = re.compile(r"https?://\S+")
OWNED = {"generators", "classifiers", "synthetic", "imported"}  # what this command writes


def add_records(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `sdaug`."""
    records = commands.add_parser("records", help="write model cards, and marked images with their description")
    records.add_argument("--out", type=Path, default=Path("records"), help="folder to write (default: records)")
    known = records.add_argument_group("what only you can say")
    known.add_argument(
        "--licence", help="of models and synthetic images: a name such as mit or cc-by-4.0, or an address"
    )
    known.add_argument("--creator", help="who made them")
    known.add_argument("--url", help="where they are")
    known.add_argument("--date", help="of publication, such as 2026-11-28")
    records.set_defaults(run=run_records)


def run_records(args: argparse.Namespace) -> None:
    """Write the folder and say where it is.

    Raises:
        FileNotFoundError: the study is not finished, or what it made is not here.
        ValueError: an option does not fit, or the folder holds something else.
    """
    _check(args)
    # Imported here: statistics, mlcroissant and huggingface_hub take seconds, which other commands save.
    from sdaug.records.finished import Publication, read_finished
    from sdaug.records.writing import write_records

    publication = Publication(licence=args.licence, creator=args.creator, url=args.url, date=args.date)
    study = read_finished(Path())
    write_records(args.out, study, publication)
    num_cards = len(study.generators) + len(study.recipes)
    given = (
        f"; {len(study.inputs.imported)} images from elsewhere in a folder of their own"
        if study.inputs.imported
        else ""
    )
    print(f"{args.out}: {num_cards} model cards, and {len(study.images)} marked images with croissant.json{given}")


def _check(args: argparse.Namespace) -> None:
    if args.licence is not None and not LICENCE.fullmatch(args.licence):
        raise ValueError(f"--licence: {args.licence!r}: neither a name such as cc-by-4.0 nor an address; give one")
    if args.url is not None and not ADDRESS.fullmatch(args.url):
        raise ValueError(f"--url: {args.url!r}: not an address; begin with https://")
    if args.date is not None:
        try:
            date.fromisoformat(args.date)
        except ValueError as error:
            raise ValueError(f"--date: {args.date!r}: no date; give one such as 2026-11-28") from error
    others = {path.name for path in args.out.iterdir()} - OWNED if args.out.is_dir() else set()
    if args.out.exists() and (others or not args.out.is_dir()):
        found = min(others, default="it is a file")
        raise ValueError(
            f"--out: {args.out}: would be replaced, but holds something else ({found}); give another folder"
        )
