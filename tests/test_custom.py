"""The custom network: its number of parameters, and the image sizes it accepts."""

import pytest
import torch

from sdaug.classify.custom import CustomNetwork


def test_custom_network_has_a_few_hundred_thousand_parameters() -> None:
    with torch.device("meta"):
        num_parameters = sum(weight.numel() for weight in CustomNetwork(4).parameters())
    assert 200_000 <= num_parameters <= 900_000


@pytest.mark.parametrize("size", [16, 24, 32, 50, 64])
def test_custom_network_takes_images_of_any_size(size: int) -> None:
    with torch.no_grad():
        B, K = CustomNetwork(3, width=16).eval()(torch.zeros(2, 3, size, size)).shape
    assert (B, K) == (2, 3)


def test_logits_of_an_image_do_not_depend_on_its_neighbours() -> None:
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    network = CustomNetwork(4, width=16).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


def test_every_parameter_learns() -> None:
    network = CustomNetwork(4, width=16)
    network(torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
