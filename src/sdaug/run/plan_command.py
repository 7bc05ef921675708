"""`sdaug plan`: how many test photos, draws, seeds and folds a study needs, from a pilot or from assumptions."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# What reads results imports SciPy and statsmodels, which takes a second that other commands save.
if TYPE_CHECKING:
    from sdaug.verdict.components import Pilot
    from sdaug.verdict.results import Study

PARAMS, METRICS = Path("params.yaml"), Path("metrics")
ARM = "augmented"
ASSUMPTIONS = "--photo-sd, --run-sd and --test-photos (and --draw-sd for an arm that uses generators)"


def add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `sdaug`."""
    plan = commands.add_parser("plan", help="how many test photos, draws, seeds and folds a study needs")
    pilot = plan.add_argument_group("a pilot: the finished study in this folder")
    pilot.add_argument("--arm", help=f"(default: {ARM})")
    pilot.add_argument("--against", help="(default: the best simple remedy by validation, or original)")
    known = plan.add_argument_group("assumptions, in place of a pilot or of what it cannot tell; SDs in points")
    known.add_argument("--photo-sd", type=_points, help="SD between photos of the mean difference of two arms on one")
    known.add_argument("--photo-run-sd", type=_points, help="SD of that between runs, on one photo (default: 0)")
    known.add_argument("--run-sd", type=_points, help="SD of the difference between training runs, given their draw")
    known.add_argument("--draw-sd", type=_points, help="SD of the difference between draws of the generators")
    known.add_argument("--test-photos", type=_counts, metavar="N,N,...", help="test photos of each class")
    known.add_argument("--models", type=_at_least(1), help="number of models (default: that of the pilot, or 1)")
    sizes = plan.add_argument_group("designs: all combinations of these")
    sizes.add_argument(
        "--photos", type=_multiple, nargs="+", default=[1, 2, 4], help="multiples of the test photos (default: 1 2 4)"
    )
    sizes.add_argument(
        "--draws", type=_at_least(3), nargs="+", default=[3, 5, 10], help="draws of the generators (default: 3 5 10)"
    )
    sizes.add_argument(
        "--seeds",
        type=_at_least(3),
        nargs="+",
        default=[3, 5, 10],
        help="training runs per model, arm (default: 3 5 10)",
    )
    sizes.add_argument(
        "--folds", type=_at_least(1), nargs="+", default=[1], help="folds, each with its own test photos (default: 1)"
    )
    sizes.add_argument("--effect", type=_points, default=0.05, help="effect to detect, in points (default: 5)")
    costs = plan.add_argument_group("costs")
    costs.add_argument("--hours-per-draw", type=_number, help="to train all generators once and draw their images")
    costs.add_argument("--hours-per-run", type=_number, help="of one training run, the mean over models")
    costs.add_argument("--hours-per-photo", type=_number, default=0.0, help="of one more test photo (default: 0)")
    plan.add_argument("--out", type=Path, help="CSV file to write")
    plan.add_argument("--plot", type=Path, help="PNG file to write: detectable effect against cost")
    plan.set_defaults(run=lambda args: print(run_plan(args)))


@dataclass(frozen=True, kw_only=True)
class _Basis:
    """The components to plan with, the names of their classes, and where they are from."""

    pilot: "Pilot"
    classes: tuple[str, ...]
    title: str


def run_plan(args: argparse.Namespace) -> str:
    """The plan as text; writes the CSV file and the picture if they are wanted.

    Raises:
        FileNotFoundError: there is no finished study here, nor enough assumptions.
        ValueError: an option does not fit, or the pilot cannot tell a component.
    """
    from sdaug.common.files import write_csv
    from sdaug.verdict import plan_tables
    from sdaug.verdict.plan import Price, list_designs, plan_designs

    basis = _assume(args) if args.photo_sd is not None else _read_pilot(args)
    has_draws = basis.pilot.expected.draw is not None
    designs = list_designs(
        multiples=sorted(set(args.photos)),
        draws=sorted(set(args.draws)) if has_draws else None,
        seeds=sorted(set(args.seeds)),
        folds=sorted(set(args.folds)),
    )
    if not designs:
        raise ValueError(f"--seeds: at most {max(args.seeds)}, need one for each of {min(args.draws)} draws; raise it")
    price = Price(per_draw=args.hours_per_draw, per_run=args.hours_per_run, per_photo=args.hours_per_photo)
    planned = plan_designs(basis.pilot, designs, price)
    if args.out:
        write_csv(args.out, plan_tables.plan_rows(planned, basis.classes, args.effect))
    if args.plot:
        from sdaug.verdict.plan_picture import draw_plan

        draw_plan(args.plot, planned, args.effect)
    has_price = planned[0].hours is not None
    tables = (
        plan_tables.components_table(basis.pilot, basis.classes, title=basis.title),
        plan_tables.designs_table(planned, args.effect),
    )
    sentences = plan_tables.describe_plan(planned, args.effect, has_price=has_price)
    return "\n\n".join([*(table.as_text() for table in tables), *sentences])


def _assume(args: argparse.Namespace) -> _Basis:
    from sdaug.verdict.components import assume

    missing = [name for name in ("run_sd", "test_photos") if getattr(args, name) is None]
    if missing:
        option = f"--{missing[0].replace('_', '-')}"
        raise ValueError(f"{option}: missing; a plan from assumptions needs {ASSUMPTIONS}")
    pilot = assume(
        args.test_photos,
        num_models=args.models or 1,
        photo=args.photo_sd,
        photo_run=args.photo_run_sd or 0.0,
        run=args.run_sd,
        draw=args.draw_sd,
    )
    classes = tuple(f"class_{k}" for k in range(1, len(args.test_photos) + 1))
    return _Basis(pilot=pilot, classes=classes, title="What a difference varies by, as assumed")


def _read_pilot(args: argparse.Namespace) -> _Basis:
    import numpy as np

    from sdaug.verdict.components import measure_pilot, override, resize
    from sdaug.verdict.results import pair_runs

    if args.models is not None or args.photo_run_sd is not None:
        raise ValueError("--models, --photo-run-sd: the pilot tells them; leave them out, or give --photo-sd as well")
    study = _read_study()
    arm, against = _choose_arms(study, args.arm, args.against)
    pairs = pair_runs(study.results, study.pooled, arm, against)
    measured = measure_pilot(pairs.gains, study.test.labels, study.test.groups, pairs.luck.draws)
    pilot = override(measured, run=args.run_sd, draw=args.draw_sd)
    _require_known(pilot, num_runs=pairs.gains.shape[1], num_draws=len(set(pairs.luck.draws or [])))
    classes = tuple(study.classes[k] for k in np.unique(study.test.labels))
    if args.test_photos is not None:
        if len(args.test_photos) != len(classes):
            raise ValueError(
                f"--test-photos: {len(args.test_photos)} numbers, need one for each of {', '.join(classes)}"
            )
        pilot = resize(pilot, args.test_photos)
    models = f"{len(study.pooled)} models ({', '.join(study.pooled)})"
    return _Basis(pilot=pilot, classes=classes, title=f"What {arm} - {against} varies by, over {models}")


def _read_study() -> "Study":
    from sdaug.common.sections import read_section
    from sdaug.verdict.inputs import read_results

    try:
        # Of one fold: a plan has folds that test other photos, which those of a cross-validation do not.
        return read_results(PARAMS, METRICS, read_section(PARAMS, "classes", list[str]), further_folds=())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no finished study here ({str(error).split(';')[0]}); run `dvc repro`, or give assumptions: {ASSUMPTIONS}"
        ) from error


def _choose_arms(study: "Study", arm: str | None, against: str | None) -> tuple[str, str]:
    """The arm and the one that it is compared with.

    Raises:
        ValueError: there is no such arm, or no other one.
    """
    from sdaug.verdict.results import BASELINE

    chosen = arm or ARM
    other = against or (study.remedy if study.remedy not in (None, chosen) else BASELINE) or BASELINE
    for option, name in (("--arm", chosen), ("--against", other)):
        if name not in study.datasets:
            raise ValueError(f"{option}: {name}: no such arm; choose from {', '.join(study.datasets)}")
    if chosen == other:
        raise ValueError(f"--against: {other}: that is the arm itself; choose from {', '.join(study.datasets)}")
    return chosen, other


def _require_known(pilot: "Pilot", *, num_runs: int, num_draws: int) -> None:
    """Raise ValueError if a component is neither told by the pilot nor given."""
    found = pilot.expected
    if math.isnan(found.photos.sum()):
        raise ValueError(
            f"{METRICS}: the test photos of a class are all of one group, which does not tell how photos differ; give "
            f"assumptions: {ASSUMPTIONS}"
        )
    if found.draw is not None and math.isnan(found.draw):
        raise ValueError(
            f"{METRICS}: {num_draws} draws of the generators, need 3 to tell how they differ; give --draw-sd, in points"
        )
    if math.isnan(found.run):
        raise ValueError(
            f"{METRICS}: {num_runs} training runs per model, need 3 to tell how they differ; give --run-sd, in points"
        )


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text}: need a number from 0 on")
    return value


def _points(text: str) -> float:
    """Percentage points, as a fraction."""
    return _number(text) / 100


def _multiple(text: str) -> float:
    value = _number(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text}: need more than 0")
    return value


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(count) for count in text.split(","))
    if len(counts) < 2 or min(counts) < 2:
        raise argparse.ArgumentTypeError(f"{text}: need two or more photos of each class, such as 110,110,80,80")
    return counts


def _at_least(least: int) -> Callable[[str], int]:
    """A type of arguments: whole numbers that are large enough."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text}: need {least} or more")
        return value

    return number
