"""The measures of a class tell a generator that copies from one that does not, and one draw from another."""

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from test_copies import photos
from test_sampling import FROM_NOISE

from sdaug.classify.features import Images
from sdaug.common.manifest import Photo
from sdaug.common.synthetic import PLAIN, SyntheticImage
from sdaug.fidelity import measures
from sdaug.fidelity.cross_fitted_judge import Judgement
from sdaug.fidelity.measures import NUM_PAIRS, NUM_PLANTED, Yardsticks, choose_planted, measure_class
from sdaug.fidelity.params import FidelityParams
from sdaug.fidelity.photo_parts import PhotoPart

CLASSES = ["dark", "light"]
PARAMS = FidelityParams(num_images=8, judge_folds=2, nearest_k=5, seed=0)


def of_class(k: int, number: int, seed: int) -> Images:
    return (photos(number, seed) // 2 + (0, 120)[k]).astype(np.uint8)


def part(name: str, counts: Sequence[int], seed: int) -> PhotoPart:
    labels: NDArray[np.int64] = np.repeat([0, 1], counts)
    pixels = np.concatenate([of_class(k, count, seed + k) for k, count in enumerate(counts)])
    listed = [
        Photo(id=f"{name}{n}", label=CLASSES[k], group=f"{name}{n}", split="train", fold=0, sha256="")
        for n, k in enumerate(labels)
    ]
    return PhotoPart(photos=listed, pixels=pixels, reconstructed=pixels, labels=labels)


def images(number: int, draws: Sequence[int]) -> list[SyntheticImage]:
    return [
        SyntheticImage(
            label="light",
            draw=draws[n],
            seed=n,
            variant=PLAIN,
            photo="",
            prompt="a",
            height=48,
            width=48,
            drawing=FROM_NOISE,
        )
        for n in range(number)
    ]


TRAINING, HELD_OUT = part("t", (36, 14), 0), part("h", (36, 32), 10)


@pytest.fixture(scope="module")
def yardsticks() -> Yardsticks:
    # A perfect VAE, which returns what it is given.
    with patch.object(measures, "reconstruct", lambda _, pixels: pixels):
        return Yardsticks(TRAINING, HELD_OUT, None, CLASSES, PARAMS)  # type: ignore[arg-type]


def test_a_generator_that_copies_is_caught_and_its_pairs_are_named(yardsticks: Yardsticks) -> None:
    copied = TRAINING.pixels[TRAINING.labels == 1]
    found, pairs = measure_class(yardsticks, images(14, [0] * 14), of_class(1, 8, 20), copied)
    assert found["copies"]["share"]["after"] == 1.0
    assert len(pairs) == NUM_PAIRS and all(pair["is_copy"] for pair in pairs)
    # The photos of the class come after 36 others.
    assert all(pair["photo"] == f"t{36 + int(pair['synthetic'].removeprefix('synthetic-'))}" for pair in pairs)


def test_a_generator_of_new_images_is_not_caught(yardsticks: Yardsticks) -> None:
    found, pairs = measure_class(yardsticks, images(40, [0] * 40), of_class(1, 8, 20), of_class(1, 40, 30))
    assert found["copies"]["share"]["after"] < 0.1
    assert [pair["ratio"] for pair in pairs] == sorted(pair["ratio"] for pair in pairs)
    assert found["copies"]["smallest_ratio"] == pairs[0]["ratio"]


def test_the_share_of_each_draw_is_told(yardsticks: Yardsticks) -> None:
    after = np.concatenate([of_class(1, 10, 40), of_class(0, 30, 41)])
    found, _ = measure_class(yardsticks, images(40, [5] * 10 + [7] * 30), of_class(0, 8, 20), after)
    judge = found["judge"]
    assert judge["share_of_draw"]["5"] > 0.9 and judge["share_of_draw"]["7"] < 0.1
    assert judge["share"]["after"] == pytest.approx(
        0.25 * judge["share_of_draw"]["5"] + 0.75 * judge["share_of_draw"]["7"]
    )
    assert judge["share"]["photos"] > 0.9 and judge["share"]["before"] < 0.1


def test_images_of_another_class_are_farther_than_those_of_the_class(yardsticks: Yardsticks) -> None:
    found, _ = measure_class(yardsticks, images(40, [0] * 40), of_class(0, 40, 20), of_class(1, 40, 30))
    before, after = (found["distances"][kind] for kind in ("before", "after"))
    assert before["kernel_distance_low"] > after["kernel_distance_high"]
    assert before["coverage"] < after["coverage"]
    assert found["distances"]["photos"]["kernel_distance"] is None  # 14 training photos are too few


def test_planted_copies_are_taken_from_each_class_and_found(yardsticks: Yardsticks) -> None:
    chosen = choose_planted(TRAINING.labels, seed=0)
    assert np.bincount(TRAINING.labels[chosen]).tolist() == [NUM_PLANTED, 14]
    assert len(set(chosen)) == len(chosen)
    assert all(share > 0.9 for share in yardsticks.copy_detection["found"].values())


def test_a_share_that_no_judge_can_tell_is_left_out() -> None:
    nothing = Judgement(recognized=np.empty(0), probability=np.empty(0))
    found = measures.judge_measures({"photos": nothing, "after": nothing}, [0, 0, 1])
    assert found["share"] == {"photos": None, "after": None} and found["share_of_draw"] == {"0": None, "1": None}
