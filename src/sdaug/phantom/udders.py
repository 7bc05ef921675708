"""The teats that the phantom photos show: udders, positions, scores, and the labels that a rater gives."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sdaug.common.seeding import numpy_stream
from sdaug.phantom.params import CLASSES, PhantomParams

POSITIONS = ("LF", "RF", "LH", "RH")
# Photos per udder and the agreement of scores within an udder match 404 real udders: with this noise added to the
# scores before sorting, 0.65 of the sibling pairs agree at 450/491/187/21 photos.
UDDERS_BY_SIZE = {4: 324, 3: 53, 2: 17, 1: 10}
SIBLING_NOISE = 0.55


@dataclass(frozen=True, kw_only=True)
class Teat:
    """One photo to draw: `label` is its folder name, `score` is what is drawn."""

    index: int
    split: str
    udder: str
    position: str
    label: str
    score: int


def plan_teats(params: PhantomParams) -> list[Teat]:
    """All teats of both splits, sorted by udder and position; class counts are exact, no udder is in both splits."""
    udders = [
        (split, scores)
        for split, counts in (("train", params.train_counts), ("test", params.test_counts))
        for scores in _group_scores(counts, numpy_stream(params.seed, "udders", split))
    ]
    order = numpy_stream(params.seed, "udder names").permutation(len(udders))
    teats: list[Teat] = []
    for number, source in enumerate(order, start=1):
        split, labels = udders[source]
        rng = numpy_stream(params.seed, "positions", number)
        positions = sorted(rng.choice(len(POSITIONS), size=len(labels), replace=False))
        for place, score in zip(positions, rng.permutation(labels), strict=True):
            name, position, label = f"u{number:04d}", POSITIONS[place], CLASSES[score - 1]
            teats.append(
                Teat(index=len(teats), split=split, udder=name, position=position, label=label, score=int(score))
            )
    return _misread(teats, params)


def _group_scores(counts: dict[str, int], rng: Generator) -> list[NDArray[np.int64]]:
    """The scores per udder: sorted by a noisy score, so that siblings are similar, then cut into udders."""
    scores = np.repeat(np.arange(1, len(CLASSES) + 1), [counts[name] for name in CLASSES])
    scores = scores[np.argsort(scores + rng.normal(0, SIBLING_NOISE, len(scores)), kind="stable")]
    ends = np.cumsum(rng.choice(np.repeat(list(UDDERS_BY_SIZE), list(UDDERS_BY_SIZE.values())), size=len(scores)))
    return np.split(scores, ends[ends < len(scores)])


def _misread(teats: list[Teat], params: PhantomParams) -> list[Teat]:
    """The teats with label noise: in each split, the given fraction is drawn one score off its label."""
    result = list(teats)
    for split in ("train", "test"):
        rng = numpy_stream(params.seed, "label noise", split)
        members = [teat.index for teat in teats if teat.split == split]
        for index in rng.permutation(members)[: round(params.label_noise_fraction * len(members))]:
            near = [score for score in (1, 2, 3, 4) if abs(score - teats[index].score) == 1]
            result[index] = replace(teats[index], score=int(rng.choice(near)))
    return result
