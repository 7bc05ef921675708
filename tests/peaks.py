"""The largest arrays that a call makes, to show that a large set of images is never float32 as a whole."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LargestFloat(TorchDispatchMode):
    """Counts the values of the largest floating-point tensor that any torch operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.num_values = 0

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        floats = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
        self.num_values = max([self.num_values, *(leaf.numel() for leaf in floats)])
        return result


def largest_float(work: Callable[[], object]) -> int:
    """The number of values of the largest floating-point tensor that `work` makes."""
    with LargestFloat() as found:
        work()
    return found.num_values


def numpy_peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that NumPy arrays of `work` take at once; torch's tensors are not counted."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
