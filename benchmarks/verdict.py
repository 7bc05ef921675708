"""Are the verdict's intervals honest? Simulated studies with a known effect, and how often their intervals hold it.

Each study has the default's test set (149, 163, 62 and 6 images in groups of siblings), models of different skill, a
luck of each training run, images that are hard for every run, and images that suit one arm. In some, the treated arm
has generators, whose draws have a luck of their own that all models share. Luck and effects are added to the
probability of being right, so that the true difference in balanced accuracy is known exactly.

The second kind of study was made to disagree with the first: images in groups of one to six, an effect that differs by
image and by group, luck of runs and draws that differs by class, in some with heavy tails (three degrees of freedom),
and in some with ten test images of the rarest class. Some are cross-validated: each of four folds of the training
photos adds its part to the effect on each class, and a run has those of three.

Prints a line per design and one JSON object: `coverage` (wanted: 0.95), `called` (how often an effect is claimed: at
most 0.05 where there is none) and `power` (how often an effect is found that is as large as the studies say, on
average, they would detect with 80 % power).
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from results import ANY, add_write_option, write_results
from scipy.special import ndtr

from sdaug.verdict.statistics import Estimate, Folds, estimate_runs

NUM_TEST = (149, 163, 62, 6)
P_RIGHT = (0.75, 0.70, 0.60, 0.50)  # of each class
GROUP_SIZES = (4, 4, 4, 4, 3, 2, 1)  # as udder photos have teats
SIBLING_NOISE = 0.55  # the phantom's: how alike the scores of one group are
METRIC = "test_balanced_accuracy"
# Shares of the variance that decides whether an image is recognized; they add up to 1.
OF_IMAGE, OF_GROUP, OF_ARM, OF_RUN = 0.35, 0.10, 0.15, 0.40


@dataclass(frozen=True, kw_only=True)
class Design:
    """How many models and seeds a study has, its true effect, and the standard deviations of luck.

    With `draw_luck`, the treated arm has a draw of generators for each seed.
    """

    num_models: int
    num_seeds: int
    effect: float
    run_luck: float
    draw_luck: float = 0.0

    def __str__(self) -> str:
        models = f"{self.num_models} model{'s' if self.num_models > 1 else ''}"
        draws = f", of draws {100 * self.draw_luck:g}" if self.draw_luck else ""
        return f"{models}, {_describe(self)}{draws}"


@dataclass(frozen=True, kw_only=True)
class Varied:
    """A study of the second kind; effects that differ by image and by group have standard deviations of 0.1."""

    num_seeds: int = 3
    effect: float = 0.0
    run_luck: float = 0.05
    draw_luck: float = 0.05
    has_draws: bool = True
    has_heavy_tails: bool = False
    num_test: tuple[int, ...] = (110, 110, 80, 80)
    fold_luck: float | None = None  # of one set of training photos, in a study of all four folds

    def __str__(self) -> str:
        draws = f"of draws {100 * self.draw_luck:g}" if self.has_draws else "no draws"
        tails = ", heavy tails" if self.has_heavy_tails else ""
        rare = ", ten photos of the rarest class" if self.num_test == RARE else ""
        folds = f"four folds, of training photos {100 * self.fold_luck:g}" if self.fold_luck is not None else ""
        return f"varied: {_describe(self)}, {draws}{tails}{rare}{', ' if folds else ''}{folds}"


def _describe(design: Design | Varied) -> str:
    return f"{design.num_seeds} runs, effect {100 * design.effect:g}, luck of runs {100 * design.run_luck:g}"


NUM_FOLDS = 4
RARE = (149, 163, 62, 10)
DESIGNS: tuple[Design | Varied, ...] = (
    Design(num_models=1, num_seeds=3, effect=0.0, run_luck=0.05),
    Design(num_models=2, num_seeds=3, effect=0.0, run_luck=0.05),
    Design(num_models=6, num_seeds=3, effect=0.0, run_luck=0.05),
    Design(num_models=6, num_seeds=3, effect=0.05, run_luck=0.10),
    Design(num_models=2, num_seeds=10, effect=-0.05, run_luck=0.05),
    Design(num_models=3, num_seeds=3, effect=0.0, run_luck=0.05, draw_luck=0.05),
    Design(num_models=3, num_seeds=5, effect=0.05, run_luck=0.05, draw_luck=0.05),
    Varied(),
    Varied(effect=0.06),
    Varied(num_seeds=5),
    Varied(has_draws=False),
    Varied(run_luck=0.02, draw_luck=0.02),
    Varied(draw_luck=0.08),
    Varied(has_heavy_tails=True),
    Varied(num_test=RARE),
    Varied(num_test=RARE, has_heavy_tails=True),
    Varied(num_test=RARE, num_seeds=5),
    Varied(fold_luck=0.0),
    Varied(fold_luck=0.02),
    Varied(fold_luck=0.04),
    Varied(fold_luck=0.08),
    Varied(fold_luck=0.04, effect=0.06),
    Varied(fold_luck=0.04, num_test=RARE),
)


Study = tuple[NDArray[np.float64], NDArray[np.int64], list[str], list[int] | None, Folds | None]


def simulate(design: Design, stream: np.random.Generator) -> Study:
    """Gains `(M, S, N)`, labels, groups, draws and folds of one study."""
    labels, group_of = draw_test_set(stream)
    N, M, S = len(labels), design.num_models, design.num_seeds
    hardness = np.sqrt(OF_IMAGE) * stream.normal(size=N) + np.sqrt(OF_GROUP) * stream.normal(size=N)[group_of]
    skill = np.linspace(-0.04, 0.04, M)[:, None, None] if M > 1 else np.zeros((1, 1, 1))
    right = []
    for effect, draw_luck in ((0.0, 0.0), (design.effect, design.draw_luck)):
        luck = design.run_luck * np.sqrt(3) * stream.uniform(-1, 1, (M, S, len(NUM_TEST)))
        luck = luck + draw_luck * np.sqrt(3) * stream.uniform(-1, 1, (1, S, len(NUM_TEST)))
        own = np.sqrt(OF_ARM) * stream.normal(size=(M, 1, N)) + np.sqrt(OF_RUN) * stream.normal(size=(M, S, N))
        right.append(ndtr(hardness + own) < np.array(P_RIGHT)[labels] + skill + luck[..., labels] + effect)
    draws = list(range(S)) if design.draw_luck else None
    return right[1].astype(float) - right[0], labels, [str(group) for group in group_of], draws, None


def draw_test_set(stream: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels `(N,)` and the index of each image's group: siblings have similar labels."""
    labels = np.repeat(np.arange(len(NUM_TEST)), NUM_TEST)
    labels = labels[np.argsort(labels + stream.normal(0, SIBLING_NOISE, len(labels)), kind="stable")]
    ends = np.cumsum(stream.choice(GROUP_SIZES, size=len(labels)))
    return labels, np.searchsorted(ends, np.arange(len(labels)), side="right")


# Of a study of the second kind: models, class probabilities, and limits that keep all probabilities within 0 and 1.
VARIED_SKILL, VARIED_RIGHT, LIMIT = (-0.04, 0.0, 0.04), (0.65, 0.60, 0.55, 0.50), 0.15


def simulate_varied(design: Varied, stream: np.random.Generator) -> Study:
    """Gains `(M, S, N)`, labels, groups, draws and folds of one study of the second kind."""
    labels = np.repeat(np.arange(len(design.num_test)), design.num_test)
    labels = labels[np.argsort(labels + stream.normal(0, 0.3, len(labels)), kind="stable")]
    ends = np.cumsum(stream.integers(1, 7, size=len(labels)))
    group_of = np.searchsorted(ends, np.arange(len(labels)), side="right")
    M, N, K = len(VARIED_SKILL), len(labels), len(design.num_test)
    fold_of = np.repeat(np.arange(NUM_FOLDS if design.fold_luck is not None else 1), design.num_seeds)
    S = len(fold_of)

    def luck(shape: tuple[int, ...], deviation: float, *, is_heavy: bool = False) -> NDArray[np.float64]:
        drawn = stream.standard_t(3, shape) / np.sqrt(3) if is_heavy else stream.normal(size=shape)
        return np.clip(deviation * drawn, -LIMIT, LIMIT)

    hardness = np.sqrt(0.3) * stream.normal(size=N) + np.sqrt(0.2) * stream.normal(size=group_of.max() + 1)[group_of]
    right = []
    for is_treated in (False, True):
        chance = np.array(VARIED_RIGHT)[labels] + np.array(VARIED_SKILL)[:, None, None]
        chance = chance + luck((M, S, K), design.run_luck, is_heavy=design.has_heavy_tails)[..., labels]
        if is_treated:
            chance = chance + design.effect + luck((N,), 0.1) + luck((group_of.max() + 1,), 0.1)[group_of]
            if design.has_draws:
                chance = chance + luck((1, S, K), design.draw_luck, is_heavy=design.has_heavy_tails)[..., labels]
            if design.fold_luck is not None:
                parts = design.fold_luck * np.sqrt(NUM_FOLDS - 1) * stream.normal(size=(NUM_FOLDS, K))
                seen = (parts.sum(axis=0) - parts) / (NUM_FOLDS - 1)  # by a run that is validated on each
                chance = chance + seen[fold_of][:, labels]
        own = np.sqrt(0.5) * stream.normal(size=(M, S, N))
        right.append(ndtr(hardness + own) < chance)
    draws = list(range(S)) if design.has_draws else None
    overlap = (NUM_FOLDS - 2) / (NUM_FOLDS - 1)
    folds = Folds(of_run=tuple(fold_of.tolist()), overlap=overlap) if design.fold_luck is not None else None
    return right[1].astype(float) - right[0], labels, [str(group) for group in group_of], draws, folds


def measure(design: Design | Varied, num_studies: int, *, seed: int = 0) -> dict[str, float]:
    """What the intervals of so many studies cover and claim, and the effect that they would detect."""
    stream = np.random.default_rng(seed)
    studies = (
        simulate_varied(design, stream) if isinstance(design, Varied) else simulate(design, stream)
        for _ in range(num_studies)
    )
    found = [estimate_runs(*study)[METRIC] for study in studies]
    result = {
        "coverage": np.mean([estimate.low <= design.effect <= estimate.high for estimate in found]),
        "called": np.mean([is_called(estimate) for estimate in found]),
        "half_width": np.median([(estimate.high - estimate.low) / 2 for estimate in found]),
    }
    # The same studies, moved to the effect that they say, on average, they would detect four times out of five.
    detectable = float(np.mean([estimate.detectable for estimate in found]))
    moved = np.array([detectable - design.effect + estimate.value for estimate in found])
    half_widths = np.array([(estimate.high - estimate.low) / 2 for estimate in found])
    result |= {"detectable": detectable, "power": np.mean(moved > half_widths)}
    return {name: round(float(value), 4) for name, value in result.items()}


def is_called(estimate: Estimate) -> bool:
    """Whether the verdict would claim an effect."""
    return estimate.low > 0 or estimate.high < 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="per design")
    add_write_option(parser)
    args = parser.parse_args()
    results = {}
    for design in DESIGNS:
        results[str(design)] = measure(design, args.studies)
        print(design, results[str(design)], flush=True)
    if args.write:
        write_results("verdict", results, machine=ANY)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
