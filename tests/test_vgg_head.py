from itertools import product

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from sdaug.classify.models import create_network
from sdaug.classify.vgg_head import spread_small_maps


class Head(nn.Identity):
    input_kernel_size = 7


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pre_logits = Head()


@pytest.mark.parametrize("size", product((1, 2, 4, 7, 9), repeat=2))
def test_maps_and_gradients_are_those_of_adaptive_pooling(size: tuple[int, int]) -> None:
    model = Model()
    spread_small_maps(model)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    wanted = F.adaptive_avg_pool2d(x, [max(7, side) for side in size])
    found = model.pre_logits(x)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = [torch.autograd.grad((result * weights).sum(), x)[0] for result in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_vgg_gives_what_it_gives_in_timm() -> None:
    ours, plain = (
        create_network("vgg11", 3, {"mlp_ratio": 0.01}),
        timm.create_model("vgg11", num_classes=3, mlp_ratio=0.01),
    )
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.eval()(x), plain.eval()(x))


def test_vgg_pools_nothing_adaptively_before_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no deterministic gradient on a GPU")

    monkeypatch.setattr("timm.models.vgg.F.adaptive_avg_pool2d", refuse)
    model = create_network("vgg11", 3, {"mlp_ratio": 0.01})
    assert model.pre_logits(torch.zeros(1, 512, 2, 2)).shape == (1, 4096, 1, 1)  # type: ignore[operator]
