"""Planted copies are found, and photos that cannot be copies are not."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sdaug.classify.features import FeatureNetwork, Images, Vectors
from sdaug.fidelity import copies
from sdaug.fidelity.copies import ALTERATIONS, CopyDetector, plant_copies


def photos(number: int, seed: int) -> Images:
    """Smooth random images of 48 pixels, each one different."""
    coarse = np.random.default_rng(seed).integers(0, 256, (number, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BICUBIC)) for image in coarse])


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    return FeatureNetwork(48)


@pytest.fixture(scope="module")
def detector(network: FeatureNetwork) -> CopyDetector:
    training = photos(40, 0)
    mirrored = training[:, :, ::-1]
    return CopyDetector(*(network.features(images) for images in (training, mirrored, photos(60, 1))))


@pytest.mark.parametrize("way", ALTERATIONS)
def test_altered_training_photos_are_found(detector: CopyDetector, network: FeatureNetwork, way: str) -> None:
    altered = network.features(plant_copies(photos(40, 0))[way])
    assert detector.copies(altered).mean() > 0.9
    assert (detector.nearest(altered).index == np.arange(40)).mean() > 0.9


def test_new_photos_are_not_taken_for_copies(detector: CopyDetector, network: FeatureNetwork) -> None:
    assert detector.copies(network.features(photos(60, 2))).mean() < 0.1


def test_alterations_change_photos_but_not_their_shape() -> None:
    original = photos(3, 0)
    for changed in plant_copies(original).values():
        assert changed.shape == original.shape and changed.dtype == np.uint8
        assert (changed != original).any(axis=(1, 2, 3)).all()


def points(number: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=(number, 5))


def test_ratio_is_to_the_next_ten_photos() -> None:
    training, image = points(30, 0), points(1, 1)
    detector = CopyDetector(training, training, points(50, 2))
    found = detector.nearest(image)
    distances = np.linalg.norm(training - image, axis=1)
    assert found.index[0] == distances.argmin()
    assert found.ratio[0] == pytest.approx(np.sort(distances)[0] / np.sort(distances)[1:11].mean())


def test_mirrored_photos_count_as_training_photos() -> None:
    training, mirrored = points(30, 0), points(30, 3)
    detector = CopyDetector(training, mirrored, points(50, 2))
    found = detector.nearest(mirrored[[7]])
    assert (found.index[0], found.distance[0]) == (7, pytest.approx(0.0, abs=1e-6))
    assert detector.copies(mirrored).all()


def test_a_training_set_of_equal_photos_gives_a_ratio() -> None:
    same: NDArray[np.float64] = np.ones((20, 5))
    assert np.isfinite(CopyDetector(same, same, points(50, 2)).nearest(same).ratio).all()


def test_memory_holds_few_rows_of_distances_and_the_ratio_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    training, held_out, images = points(300, 0), points(50, 1), points(40, 2)
    whole = CopyDetector(training, -training, held_out)
    held = list[int]()
    measure = copies.pairwise_distances

    def count_cells(some: Vectors, photos: Vectors) -> Vectors:
        held.append(len(some) * len(photos))
        found: Vectors = measure(some, photos)
        return found

    expected = whole.nearest(images)
    monkeypatch.setattr(copies, "pairwise_distances", count_cells)
    monkeypatch.setattr(copies, "CELLS_AT_ONCE", 2100)
    parts = CopyDetector(training, -training, held_out)
    held.clear()
    found = parts.nearest(images)
    # Each image once with each photo and its mirror image, seven at a time.
    assert sum(held) == 2 * len(images) * len(training) and max(held) == 2100
    assert (found.index == expected.index).all() and found.ratio == pytest.approx(expected.ratio, rel=1e-12)
