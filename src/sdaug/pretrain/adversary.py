"""The discriminator that keeps the VAE's decoder from blurring (Esser et al., arXiv 2012.09841).

A squared error is smallest for the mean of all that could be, so a decoder trained with it alone returns no grain.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from sdaug.common.seeding import derive_seed
from sdaug.pretrain.params import AdversaryParams


class Adversary:
    """A discriminator of small patches (Isola et al., arXiv 1611.07004) and its optimizer; always float32."""

    def __init__(self, params: AdversaryParams, *, seed: int, device: torch.device) -> None:
        self.params = params
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "adversary"))
            self.network = build_discriminator(params.channels)
        self.network.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=params.learning_rate, betas=(0.5, 0.9), weight_decay=0.0
        )

    def loss(self, decoded: torch.Tensor, reconstruction: torch.Tensor, last_weight: torch.Tensor) -> torch.Tensor:
        """How well decoded images `(B, 3, H, W)` are found out, for the decoder to make small.

        Its gradient at the decoder's last weight is `params.weight` times that of the reconstruction loss, so that
        neither drowns the other.
        """
        found_out = -self.network(decoded).mean()
        (own,) = torch.autograd.grad(found_out, last_weight, retain_graph=True)
        (other,) = torch.autograd.grad(reconstruction, last_weight, retain_graph=True)
        scale = (other.norm() / own.norm().clamp(min=1.0e-8)).clamp(max=1.0e4)
        return self.params.weight * scale.detach() * found_out

    def learn(self, real: torch.Tensor, decoded: torch.Tensor) -> None:
        """One step on real and decoded images with the hinge loss."""
        self.optimizer.zero_grad()
        of_real, of_decoded = self.network(torch.cat([real, decoded])).chunk(2)
        loss = F.relu(1.0 - of_real).mean() + F.relu(1.0 + of_decoded).mean()
        loss.backward()
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def build_discriminator(channels: int) -> nn.Sequential:
    """Scores `(B, 1, H / 4, W / 4)` of overlapping patches of 17 pixels of images `(B, 3, H, W)`."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
        nn.GroupNorm(8, 2 * channels),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1),
        nn.GroupNorm(8, 4 * channels),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * channels, 1, 3, padding=1),
    )
