import numpy as np
import pytest
import torch

from sdaug.train.batches import count_batches, count_epoch, cut_batches, draw_epoch

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
