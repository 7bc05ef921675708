"""Mistakes on the test set: the photos that most runs get wrong, and those on which two arms differ most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdaug.verdict.results import BASELINE, Contrast, Study
from sdaug.verdict.statistics import Ints

NUM_HARDEST = 12
NUM_MOVED = 6  # each way


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One test photo: `wrong` is how many runs of each arm are wrong on it, `said` their most common wrong label."""

    id: str
    label: str
    said: str
    wrong: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The photos to show. `moved_by` is the contrast that `rescued` and `lost` are of, if there is one.

    `num_runs` are the runs of each arm, over all models; `num_always_wrong` are the photos that no run gets right.
    """

    num_runs: int
    num_always_wrong: int
    hardest: tuple[Mistake, ...]
    moved_by: Contrast | None
    rescued: tuple[Mistake, ...]
    lost: tuple[Mistake, ...]

    @property
    def ids(self) -> set[str]:
        return {photo.id for photo in (*self.hardest, *self.rescued, *self.lost)}


def find_mistakes(study: Study) -> Mistakes:
    """The photos that are wrong in more than half of all runs, the worst first, and those that an arm moved most.

    An arm without training of its own has no part in it, or the runs of another would count twice.
    """
    predicted = {arm: _predictions(study, arm) for arm in study.trained}
    wrong = {arm: (labels != study.test.labels).sum(axis=0) for arm, labels in predicted.items()}
    everything = np.concatenate(list(predicted.values()))
    total = np.sum(list(wrong.values()), axis=0)

    def mistake(n: int) -> Mistake:
        counts = np.bincount(everything[:, n], minlength=len(study.classes))
        counts[study.test.labels[n]] = 0
        return Mistake(
            id=study.test.ids[n],
            label=study.classes[study.test.labels[n]],
            said=study.classes[counts.argmax()],
            wrong={arm: int(of_arm[n]) for arm, of_arm in wrong.items()},
        )

    contrast = _moving_contrast(study)
    change = np.zeros_like(total) if contrast is None else wrong[contrast.arm] - wrong[contrast.against]
    hardest = _largest(np.where(2 * total > len(everything), total, 0), NUM_HARDEST)
    return Mistakes(
        num_runs=len(everything) // len(study.trained),
        num_always_wrong=int((total == len(everything)).sum()),
        hardest=tuple(map(mistake, hardest)),
        moved_by=contrast,
        rescued=tuple(map(mistake, _largest(-change, NUM_MOVED))),
        lost=tuple(map(mistake, _largest(change, NUM_MOVED))),
    )


def _predictions(study: Study, arm: str) -> Ints:
    """Predicted class indices `(R, N)` of all runs of one arm."""
    return np.stack([run.predicted for model in study.models for run in study.results[model, arm].runs])


def _moving_contrast(study: Study) -> Contrast | None:
    """The first arm with generated images against the baseline, or the first trained arm if none has any."""
    against = [found for found in study.contrasts if found.against == BASELINE and found.arm in study.trained]
    generated = [contrast for contrast in against if contrast.num_draws is not None]
    return next(iter([*generated, *against]), None)


def _largest(values: Ints, count: int) -> Sequence[int]:
    """The places of the largest values above zero, in the order of the ids where they are equal."""
    order = np.argsort(-values, kind="stable")[:count]
    return [int(n) for n in order if values[n] > 0]
