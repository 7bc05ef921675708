import itertools

import numpy as np
import pytest
import torch

from sdaug.train.batches import Epochs, count_batches, count_epoch, cut_batches, draw_epoch, spread_evenly

LABELS = np.array([0] * 7 + [1] * 3 + [2] * 2)


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("num_images", range(2, 12))
@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_every_image_is_in_a_plain_epoch_once(num_images: int, batch_size: int) -> None:
    batches = cut_batches(draw_epoch(np.zeros(num_images, int), "plain", stream()), batch_size)
    assert sorted(torch.cat(batches).tolist()) == list(range(num_images))
    assert len(batches) == count_batches(num_images, batch_size)


def test_last_batch_of_one_joins_the_one_before() -> None:
    assert [len(batch) for batch in cut_batches(torch.arange(13), 4)] == [4, 4, 5]


def test_last_batch_of_two_stays() -> None:
    assert [len(batch) for batch in cut_batches(torch.arange(10), 4)] == [4, 4, 2]


@pytest.mark.parametrize("sampler", ["plain", "balanced"])
def test_two_epochs_have_different_orders(sampler: str) -> None:
    order = stream()
    first, second = (draw_epoch(LABELS, sampler, order) for _ in range(2))
    assert not torch.equal(first, second)


def test_balanced_epoch_has_each_class_as_often_as_the_largest() -> None:
    drawn = LABELS[draw_epoch(LABELS, "balanced", stream()).numpy()]
    assert np.bincount(drawn).tolist() == [7, 7, 7]
    assert len(drawn) == count_epoch(LABELS, "balanced")


def test_balanced_epoch_repeats_the_images_of_a_class_equally_often_but_for_the_rest() -> None:
    times = np.bincount(draw_epoch(LABELS, "balanced", stream()).numpy(), minlength=len(LABELS))
    assert set(times[LABELS == 0]) == {1}
    assert sorted(times[LABELS == 1]) == [2, 2, 3]
    assert sorted(times[LABELS == 2]) == [3, 4]


@pytest.mark.parametrize(("num_first", "num_second"), [(5, 5), (10, 3), (3, 10), (7, 0), (20, 1)])
def test_any_stretch_has_its_share_of_both(num_first: int, num_second: int) -> None:
    spread = spread_evenly(torch.arange(num_first), 100 + torch.arange(num_second))
    assert [item for item in spread.tolist() if item < 100] == list(range(num_first))
    assert [item - 100 for item in spread.tolist() if item >= 100] == list(range(num_second))
    share = num_second / len(spread)
    for start, end in itertools.combinations(range(len(spread) + 1), 2):
        assert abs((spread[start:end] >= 100).sum() - share * (end - start)) <= 1


NUM_REAL, NUM_SYNTHETIC = 31, 12
IS_SYNTHETIC = np.arange(NUM_REAL + NUM_SYNTHETIC) >= NUM_REAL


def shared(share: float, batch_size: int = 8) -> Epochs:
    """Epochs of photos, rows 0 to 61, and synthetic images, rows 62 to 84; only even rows take part."""
    rows = 2 * np.arange(NUM_REAL + NUM_SYNTHETIC)
    return Epochs(
        rows=rows,
        labels=rows % 3,
        is_synthetic=IS_SYNTHETIC,
        sampler="plain",
        synthetic_share=share,
        batch_size=batch_size,
    )


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_every_batch_has_the_share_and_every_epoch_each_photo_once(share: float) -> None:
    epochs, order = shared(share), stream()
    for _ in range(3):
        batches = epochs.draw(order)
        assert len(batches) == epochs.num_batches
        drawn = torch.cat(batches).tolist()
        assert sorted(row for row in drawn if row < 2 * NUM_REAL) == [2 * row for row in range(NUM_REAL)]
        assert len(drawn) == round(NUM_REAL / (1 - share)) and all(row % 2 == 0 for row in drawn)
        for batch in batches:
            # One image for the spreading, and half of one that the epoch rounds off.
            assert abs((batch >= 2 * NUM_REAL).sum() - share * len(batch)) <= 1.5


def test_synthetic_images_take_turns() -> None:
    order, views = stream(), np.zeros(2 * len(IS_SYNTHETIC))
    for _ in range(200):
        np.add.at(views, torch.cat(shared(0.2).draw(order)).numpy(), 1)
    of_synthetic = views[::2][IS_SYNTHETIC]
    assert of_synthetic.min() > 0.8 * of_synthetic.mean() and of_synthetic.max() < 1.2 * of_synthetic.mean()


def test_a_small_share_of_few_photos_is_at_least_one_image() -> None:
    assert shared(0.001).num_synthetic == 1


def test_real_and_synthetic_neighbours_differ_from_batch_to_batch() -> None:
    order = stream()
    patterns = {tuple((batch >= 2 * NUM_REAL).tolist()) for batch in shared(0.5).draw(order)}
    assert len(patterns) > 2
