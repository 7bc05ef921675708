"""Distances between images and photos are what their definitions say, and rank images correctly."""

from itertools import product

import numpy as np
import pytest

from sdaug.classify.features import Vectors
from sdaug.fidelity.distances import (
    MIN_IMAGES,
    distance_measures,
    fitted_k,
    kernel_distance,
    neighbour_scores,
)


def unit(number: int, mean: float, seed: int, size: int = 6) -> Vectors:
    points = np.random.default_rng(seed).normal(0.0, 1.0, (number, size)) + mean * np.eye(size)[0]
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_kernel_distance_is_the_definition() -> None:
    x, y = unit(11, 0.0, 0), unit(12, 1.0, 1)

    def kernel(a: Vectors, b: Vectors) -> float:
        return float((a @ b + 1) ** 3)

    own_x = np.mean([kernel(x[i], x[j]) for i, j in product(range(11), repeat=2) if i != j])
    own_y = np.mean([kernel(y[i], y[j]) for i, j in product(range(12), repeat=2) if i != j])
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y, stream()).value == pytest.approx(own_x + own_y - 2 * between)


def test_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    same = [kernel_distance(unit(30, 0.0, seed), unit(30, 0.0, 1000 + seed), stream()).value for seed in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert min(same) < 0 < max(same)


def test_interval_holds_the_distance_of_the_distributions_about_as_often_as_it_says() -> None:
    true = np.mean([kernel_distance(unit(800, 0.0, s), unit(800, 3.0, 50 + s), stream()).value for s in range(4)])
    intervals = [kernel_distance(unit(40, 0.0, seed), unit(40, 3.0, 500 + seed), stream(seed)) for seed in range(100)]
    hits = sum(found.low <= true <= found.high for found in intervals)
    assert 88 <= hits <= 100
    assert sum(found.low > 0 for found in intervals) > 90  # narrow enough to tell the two apart


def test_interval_is_a_function_of_the_seed() -> None:
    x, y = unit(30, 0.0, 0), unit(30, 1.0, 1)
    assert kernel_distance(x, y, stream(3)) == kernel_distance(x, y, stream(3))
    assert kernel_distance(x, y, stream(3)) != kernel_distance(x, y, stream(4))


def test_kernel_distance_needs_ten_of_each() -> None:
    with pytest.raises(ValueError, match="kernel distance of 9 photos and 10 images; need 10 or more"):
        kernel_distance(unit(9, 0.0, 0), unit(10, 0.0, 0), stream())


def test_neighbour_scores_are_their_definitions() -> None:
    photos, images, k = unit(12, 0.0, 0), unit(9, 0.5, 1), 3

    def far(a: Vectors, b: Vectors) -> float:
        return float(np.linalg.norm(a - b))

    def radius(points: Vectors, i: int) -> float:
        return sorted(far(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    in_photos = np.array([[far(p, m) <= radius(photos, i) for m in images] for i, p in enumerate(photos)])
    in_images = np.array([[far(p, m) <= radius(images, j) for j, m in enumerate(images)] for p in photos])
    assert neighbour_scores(photos, images, k=k) == pytest.approx(
        {
            "precision": in_photos.any(axis=0).mean(),
            "recall": in_images.any(axis=1).mean(),
            "density": in_photos.sum() / (k * 9),
            "coverage": in_photos.any(axis=1).mean(),
        }
    )


def test_density_of_images_like_photos_is_one_on_average() -> None:
    found = [neighbour_scores(unit(60, 0.0, s), unit(60, 0.0, 100 + s), k=5)["density"] for s in range(40)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.05)


def test_images_of_one_kind_are_precise_but_recall_little() -> None:
    photos = unit(100, 0.0, 0)
    near_one_photo = photos[:1] + np.random.default_rng(1).normal(0.0, 0.01, (100, 6))
    scores = neighbour_scores(photos, near_one_photo, k=5)
    assert scores["precision"] == 1.0
    assert scores["recall"] < 0.05 and scores["coverage"] < 0.2


def test_few_photos_or_images_have_fewer_neighbours() -> None:
    assert [fitted_k(5, unit(n, 0.0, 0), unit(m, 0.0, 0)) for n, m in ((30, 90), (90, 42), (50, 50))] == [3, 4, 5]
    assert fitted_k(5, unit(4, 0.0, 0), unit(90, 0.0, 0)) == 1


def test_nothing_is_measured_of_too_few() -> None:
    photos, few, enough = (unit(n, 0.0, n) for n in (MIN_IMAGES, MIN_IMAGES - 1, MIN_IMAGES))
    measured = distance_measures(photos, {"few": few, "enough": enough}, nearest_k=5, seed=0)
    assert measured["few"].keys() == measured["enough"].keys()
    assert {value for name, value in measured["few"].items() if name != "num_images"} == {None}
    assert None not in measured["enough"].values()
    reverse = distance_measures(few, {"enough": enough}, nearest_k=5, seed=0)
    assert reverse["enough"]["precision"] is None
