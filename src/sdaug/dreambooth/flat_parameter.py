"""Many weights as one tensor: on a CPU, short operations for each of hundreds of tensors take much of a step."""

from collections.abc import Sequence

import torch
from torch import nn


class FlatParameter:
    """Weights that are views of one tensor, which clipping, the optimizer and a moving average work on.

    Each keeps its shape and its order in memory. Whoever moves a weight to other memory cuts it off from the tensor.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._weights = weights
        self.tensor = nn.Parameter(torch.cat([_in_memory_order(weight.detach()) for weight in weights]))
        parts = self.tensor.detach().split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data = part.as_strided(weight.shape, weight.stride())

    def gather_gradients(self) -> None:
        """Let the tensor have the gradients of all weights, and the weights none."""
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self._weights]
        self.tensor.grad = torch.cat([_in_memory_order(gradient) for gradient in gradients])
        for weight in self._weights:
            weight.grad = None


def _in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """All numbers in one row; autograd lays out a gradient as it finds its weight."""
    return tensor.as_strided((tensor.numel(),), (1,))
