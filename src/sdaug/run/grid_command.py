"""The command `sdaug grid` and its options."""

import argparse

from sdaug.run.grid import JOBS_HERE, run_grid
from sdaug.run.place import Place


def add_grid(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `sdaug`."""
    grid = commands.add_parser("grid", help="like dvc repro, with several training runs at once")
    grid.add_argument(
        "-j", "--jobs", type=int, help=f"number of runs at once (default: {JOBS_HERE} here, all that fit elsewhere)"
    )
    grid.add_argument("--jobs-per-gpu", type=int, default=1, help="number of generators at once on a GPU (default: 1)")
    grid.add_argument("--on", choices=["local", "ray", "slurm"], default="local", help="where stages run")
    wide = grid.add_argument_group("on ray and slurm")
    wide.add_argument("--trainings-per-gpu", type=int, help="number of classifiers at once on a GPU (default: 2)")
    wide.add_argument(
        "--gpu",
        action=argparse.BooleanOptionalAction,
        help="whether stages ask for GPUs (default: on ray if there are any, on slurm not)",
    )
    wide.add_argument(
        "--same-versions", action="store_true", help="refuse workers whose Python or libraries are other versions"
    )
    wide.add_argument(
        "--same-hardware",
        action="store_true",
        help="refuse workers whose GPU, or without one whose processor, is another",
    )
    wide.add_argument(
        "--pull", action="store_true", help="workers have no shared folder: they pull from the default remote (on ray)"
    )
    wide.add_argument("--address", metavar="HOST:PORT", help="a cluster of Ray to join (default: start one here)")
    wide.add_argument(
        "--slurm", action="append", metavar="NAME=VALUE", help="an option of sbatch, such as partition=gpu or time=240"
    )
    grid.set_defaults(run=lambda args: run_grid(args.jobs, args.jobs_per_gpu, read_place(args)))


def read_place(args: argparse.Namespace) -> Place | None:
    """Where stages run; None for this machine.

    Raises:
        ValueError: an option belongs to another place, or has no value.
    """
    shared = ("trainings_per_gpu", "gpu", "same_versions", "same_hardware")
    allowed = {
        "local": set[str](),
        "ray": {*shared, "pull", "address"},
        "slurm": {*shared, "slurm"},
    }[args.on]
    for name in (*shared, "pull", "address", "slurm"):
        if getattr(args, name) not in (None, False) and name not in allowed:
            raise ValueError(f"grid: --{name.replace('_', '-')}: not for --on {args.on}; leave it out")
    if args.on == "local":
        return None
    options = [option.partition("=") for option in args.slurm or []]
    for name, sign, value in options:
        if not (name and sign and value):
            raise ValueError(f"grid: --slurm {name}{sign}{value}; need NAME=VALUE, such as partition=gpu")
    return Place(
        on=args.on,
        address=args.address,
        uses_gpus=args.gpu,
        trainings_per_gpu=2 if args.trainings_per_gpu is None else args.trainings_per_gpu,
        same_versions=args.same_versions,
        same_hardware=args.same_hardware,
        pulls=args.pull,
        slurm={name: value for name, _, value in options},
    )
