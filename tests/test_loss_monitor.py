"""Mean losses, and the step of the first loss that is not finite."""

import pytest
import torch

from sdaug.common.loss_monitor import LossMonitor

CPU = torch.device("cpu")


def test_the_first_bad_step_is_named() -> None:
    watch = LossMonitor(["loss"], CPU)
    for step, value in enumerate((1.0, float("inf"), float("nan")), start=1):
        watch.add(step, [torch.tensor(value)])
    with pytest.raises(ValueError, match="here: step 2: the loss is not finite; do less"):
        watch.means(where="here", way_out="do less")


def test_a_first_loss_that_is_bad_is_not_the_learning_rates_fault() -> None:
    watch = LossMonitor(["loss"], CPU)
    watch.add(1, [torch.tensor(float("nan"))])
    with pytest.raises(
        ValueError, match="here: step 1: .*learning rate is not to blame but the precision.*fp32"
    ) as error:
        watch.means(where="here", way_out="do less")
    assert "do less" not in str(error.value)
    with pytest.raises(ValueError, match="step 1: the loss is not finite; do less"):
        watch.means(where="here", way_out="do less", is_start=False)


def test_means_are_since_the_last_time() -> None:
    watch = LossMonitor(["instance", "prior"], CPU)
    for value in (1.0, 3.0):
        watch.add(1, [torch.tensor(value), torch.tensor(2 * value)])
    assert watch.means(where="", way_out="") == {"instance": 2.0, "prior": 4.0}
    watch.add(2, [torch.tensor(5.0), torch.tensor(5.0)])
    assert watch.means(where="", way_out="") == {"instance": 5.0, "prior": 5.0}


def test_a_batch_counts_by_its_images() -> None:
    watch = LossMonitor(["loss"], CPU)
    watch.add(1, [torch.tensor(1.0)], num_images=3)
    watch.add(2, [torch.tensor(5.0)], num_images=1)
    assert watch.means(where="", way_out="") == {"loss": 2.0}
