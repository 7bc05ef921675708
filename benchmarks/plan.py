"""Does a planned study detect what its plan says? Simulated studies, and how often they detect the predicted effect.

The first kind has known components: gains are sums of normal parts of photos, runs, draws, and photos and runs
together, so that a plan from the same numbers should be right. The second kind has pilots: studies of 30 draws of
benchmarks/verdict.py (right and wrong answers, groups of one to six photos, effects that differ by photo), whose
measured components plan smaller ones; the prediction is the mean of those of 20 pilots. `power` should be 0.80.

Prints a line per design and one JSON object.
"""

import argparse
import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from results import ANY, add_write_option, write_results
from verdict import METRIC, Varied, simulate_varied

from sdaug.verdict.components import Pilot, assume, measure_pilot
from sdaug.verdict.plan import Design, foresee
from sdaug.verdict.statistics import estimate_runs

NUM_PHOTOS = (110, 110, 80, 80)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Standard deviations of the parts of a gain, as fractions of 1; no `draw` for an arm without generators."""

    photo: float = 0.30
    photo_run: float = 0.40
    run: float = 0.02
    draw: float | None = 0.01
    num_models: int = 3

    def assumed(self) -> Pilot:
        """The pilot that knows them."""
        return assume(
            NUM_PHOTOS,
            num_models=self.num_models,
            photo=self.photo,
            photo_run=self.photo_run,
            run=self.run,
            draw=self.draw,
        )


DESIGNS: tuple[tuple[Known, Design], ...] = (
    (Known(), Design(num_draws=3, num_seeds=3)),
    (Known(), Design(num_draws=3, num_seeds=10)),
    (Known(), Design(num_draws=5, num_seeds=5)),
    (Known(), Design(num_draws=10, num_seeds=10)),
    (Known(), Design(multiple=4, num_draws=3, num_seeds=3)),
    (Known(), Design(multiple=4, num_draws=10, num_seeds=10)),
    (Known(draw=0.03), Design(num_draws=3, num_seeds=3)),
    (Known(draw=0.03), Design(num_draws=5, num_seeds=5)),
    (Known(draw=0.0), Design(num_draws=3, num_seeds=3)),
    (Known(draw=None), Design(num_draws=None, num_seeds=3)),
    (Known(draw=None, num_models=1, run=0.05), Design(num_draws=None, num_seeds=5)),
)
LARGE, NUM_PILOTS = Varied(num_seeds=30), 20
SEEDS = (3, 5, 10)


def describe(known: Known, design: Design) -> str:
    """A study in a few words; its luck of photos and of runs is the usual one unless it says otherwise."""
    draws = "" if design.num_draws is None else f", {design.num_draws} draws"
    luck = "no generators" if known.draw is None else f"luck of draws {100 * known.draw:g}"
    luck = "no luck of draws" if known.draw == 0 else luck
    models = "" if known.num_models == 3 else f", {known.num_models} model, luck of runs {100 * known.run:g}"
    return f"{design.multiple * sum(NUM_PHOTOS):g} photos{draws}, {design.num_seeds} seeds; {luck}{models}"


def draw_study(
    known: Known, design: Design, stream: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str], list[int] | None]:
    """Gains `(M, S, N)` without an effect, labels, groups and draws."""
    labels = np.repeat(np.arange(len(NUM_PHOTOS)), [round(design.multiple * count) for count in NUM_PHOTOS])
    M, S, N = known.num_models, design.num_seeds, len(labels)
    gains = known.photo * stream.normal(size=N) + known.photo_run * stream.normal(size=(M, S, N))
    gains = gains + known.run * stream.normal(size=(M, S, 1))
    draws = None
    if known.draw is not None and design.num_draws is not None:
        draws = [seed % design.num_draws for seed in range(S)]
        gains = gains + known.draw * stream.normal(size=design.num_draws)[draws][:, None]
    return gains, labels, [str(n) for n in range(N)], draws


def measure_power(known: Known, design: Design, num_studies: int, *, seed: int = 0) -> dict[str, float]:
    """The effect that the plan says is detectable, and how often studies detect it."""
    stream = np.random.default_rng(seed)
    detectable = foresee(known.assumed().expected, design).detectable
    found = [estimate_runs(*draw_study(known, design, stream))[METRIC] for _ in range(num_studies)]
    return {"detectable": round(detectable, 4), "power": float(np.mean([one.low + detectable > 0 for one in found]))}


def plan_from_pilots(num_studies: int, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """The same for studies of the second kind, by number of draws."""
    stream = np.random.default_rng(seed)
    pilots = [measure_pilot(*simulate_varied(LARGE, stream)[:4]) for _ in range(NUM_PILOTS)]
    results = {}
    for num_seeds in SEEDS:
        design = Design(num_draws=num_seeds, num_seeds=num_seeds)
        detectable = float(np.mean([foresee(pilot.expected, design).detectable for pilot in pilots]))
        small = replace(LARGE, num_seeds=num_seeds)
        found = [estimate_runs(*simulate_varied(small, stream))[METRIC] for _ in range(num_studies)]
        power = float(np.mean([one.low + detectable > 0 for one in found]))
        results[f"pilots: {num_seeds} draws"] = {
            "detectable": round(detectable, 4),
            "power": power,
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="per design")
    add_write_option(parser)
    args = parser.parse_args()
    results = {}
    for known, design in DESIGNS:
        results[describe(known, design)] = found = measure_power(known, design, args.studies)
        print(describe(known, design), found, flush=True)
    results |= (piloted := plan_from_pilots(args.studies))
    print(*(f"{name}: {found}" for name, found in piloted.items()), sep="\n")
    if args.write:
        write_results("plan", results, machine=ANY)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
