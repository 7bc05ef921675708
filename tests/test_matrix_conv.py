from itertools import product

import pytest
import torch
from torch import nn

from sdaug.common.cpu_speed import MatrixConv2d, flatten, use_matrix_products

KERNELS = [
    ((3, 3), (1, 1)),
    ((1, 1), (0, 0)),
    ((1, 7), (0, 3)),
    ((7, 1), (3, 0)),
    ((3, 3), (0, 0)),
    ((5, 5), (2, 2)),
    ((1, 1), (1, 1)),
]
SIZES = [(1, 1), (2, 2), (3, 3), (5, 4)]
CASES = [
    (kernel, padding, size, stride)
    for (kernel, padding), size, stride in product(KERNELS, SIZES, (1, 2, 3))
    if all(n + 2 * p >= k for k, p, n in zip(kernel, padding, size, strict=True))
]


@pytest.mark.parametrize(("kernel", "padding", "size", "stride"), CASES)
def test_values_and_gradients_are_those_of_the_convolution(
    kernel: tuple[int, int], padding: tuple[int, int], size: tuple[int, int], stride: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(64, 8, kernel, stride=stride, padding=padding, dtype=torch.float64)
    ours = nn.Conv2d(64, 8, kernel, stride=stride, padding=padding, dtype=torch.float64)
    ours.load_state_dict(plain.state_dict())
    use_matrix_products(ours.to(memory_format=torch.channels_last))
    x = torch.randn(2, 64, *size, generator=generator, dtype=torch.float64)
    outputs, gradients = [], []
    for conv in (plain, ours):
        pixels = x.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        output = conv(pixels)
        output.square().sum().backward()
        outputs.append(output.detach())
        assert conv.weight.grad is not None and conv.bias is not None
        gradients.append((pixels.grad, conv.weight.grad, conv.bias.grad))
    assert type(ours) is MatrixConv2d
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_large_images_take_the_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = nn.Conv2d(16, 4, 3, padding=1)
    use_matrix_products(conv)

    def refuse(*_: object) -> None:
        raise AssertionError("a matrix product")

    monkeypatch.setattr("sdaug.common.cpu_speed.F.linear", refuse)
    assert conv(torch.zeros(2, 16, 8, 8)).shape == (2, 4, 8, 8)
    with pytest.raises(AssertionError, match="matrix product"):
        conv(torch.zeros(1, 16, 2, 2))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, groups=2),
        nn.Conv2d(8, 8, 3, dilation=2),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
    ],
)
def test_other_convolutions_stay_as_they_are(conv: nn.Conv2d) -> None:
    use_matrix_products(conv)
    assert type(conv) is nn.Conv2d


def test_the_switch_leaves_all_as_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdaug.common.cpu_speed.IS_ON", False)
    conv = nn.Conv2d(8, 8, 3)
    use_matrix_products(conv)
    assert type(conv) is nn.Conv2d
    assert flatten(list(conv.parameters()), torch.device("cpu")) is None


def test_an_image_smaller_than_the_kernel_is_refused_as_ever() -> None:
    conv = nn.Conv2d(64, 8, 3)
    use_matrix_products(conv)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        conv(torch.zeros(1, 64, 2, 2))
