"""The judge of synthetic images: it recognises real classes, and its distances rank images correctly."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sdaug.fidelity.judge import Features, Judge, kernel_distance

CLASSES = ["dark", "light"]


def shades(level: float, num_images: int, seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(level, 20.0, (num_images, 16, 16, 3))
    return noise.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def judge() -> Judge:
    photos = np.concatenate([shades(70, 24, 0), shades(180, 24, 1)])
    return Judge(photos, np.repeat([0, 1], 24), CLASSES, seed=0)


def test_judge_names_the_class_of_new_images(judge: Judge) -> None:
    assert judge.verdict(shades(70, 12, 2), "dark")[0] == 1.0
    assert judge.verdict(shades(70, 12, 2), "light")[0] == 0.0
    assert judge.verdict(shades(180, 12, 3), "light")[1] > 0.8


def test_features_are_what_the_last_layer_is_given(judge: Judge) -> None:
    assert judge.features(shades(70, 5, 4)).shape == (5, 96)


def test_images_of_the_class_are_nearer_than_others(judge: Judge) -> None:
    photos = judge.features(shades(70, 20, 5))
    near, far = (kernel_distance(photos, judge.features(shades(level, 20, 6))) for level in (70, 180))
    assert far > 10 * abs(near)


def normal(num: int, mean: float, seed: int) -> Features:
    return np.random.default_rng(seed).normal(mean, 1.0, (num, 4))


def test_distance_is_the_definition() -> None:
    x, y = normal(3, 0.0, 0), normal(4, 1.0, 1)

    def kernel(a: Features, b: Features) -> float:
        return float((a @ b / 4 + 1) ** 3)

    own_x = np.mean([kernel(x[i], x[j]) for i in range(3) for j in range(3) if i != j])
    own_y = np.mean([kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(own_x + own_y - 2 * between)


def test_distance_of_one_distribution_is_zero_on_average() -> None:
    same = [kernel_distance(normal(30, 0.0, seed), normal(30, 0.0, 1000 + seed)) for seed in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert min(same) < 0 < max(same)


def test_distance_needs_two_images() -> None:
    with pytest.raises(ValueError, match="kernel distance of 1 and 5 images; need 2 or more"):
        kernel_distance(normal(1, 0.0, 0), normal(5, 0.0, 0))
