"""`sdaug page`: the command, and the plan that the page asks for."""

import argparse
import shlex
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import NoReturn

from sdaug.run.plan_command import add_plan, run_plan

PORT = 7860


def add_page(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `sdaug`."""
    page = commands.add_parser("page", help="draw, browse and predict in a browser, on this machine alone")
    page.add_argument("--port", type=int, default=PORT, help=f"on 127.0.0.1 (default: {PORT}; 0 for a free one)")
    page.add_argument("--open", action="store_true", help="open it in the browser")
    page.set_defaults(run=run_page)


def run_page(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    from sdaug.page.server import serve  # its extra need not be installed

    serve(Path(), partial(plan_study, Path().resolve()), port=args.port, opens=args.open)


def plan_study(root: Path, options: str) -> str:
    """What `sdaug plan` prints with these options in a study's folder.

    Raises:
        ValueError: an option is unknown or does not fit, or would write a file.
    """
    args = parse_plan(options)
    with chdir(root):
        return run_plan(args)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"Options: {message}; see `sdaug plan --help`")


def parse_plan(options: str) -> argparse.Namespace:
    """The options of `sdaug plan`, but for those that write files.

    Raises:
        ValueError: an option is unknown, or does not fit.
    """
    parser = _Parser(prog="sdaug", add_help=False)
    add_plan(parser.add_subparsers(parser_class=_Parser))
    try:
        args = parser.parse_args(["plan", *shlex.split(options)])
    except SystemExit as error:  # --help
        raise ValueError("Options: `--help` prints to the terminal; run `sdaug plan --help` there") from error
    if args.out or args.plot:
        raise ValueError("Options: --out, --plot: the page writes no files; run `sdaug plan` in a terminal")
    return args
