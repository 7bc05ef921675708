"""What makes training on a CPU faster; the one switch, `IS_ON`, turns all of it off.

- Convolutions as matrix products (`use_matrix_products`, for classifiers): one with few output positions and hundreds
  of channels spends most of its time reordering weights. One product over all positions of a batch needs no layout
  other than channels last. Results are equal up to rounding.
- Many weights in one tensor (`flatten`, for DreamBooth): short operations on hundreds of tensors cost time.
- Freed memory is kept (`keep_freed_memory`, for all stages); no result depends on it.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

IS_ON = True


def flatten(weights: Sequence[nn.Parameter], device: torch.device) -> "FlatParameter | None":
    """One tensor for all weights on a CPU, None elsewhere, where operations on many tensors are fused."""
    return FlatParameter(weights) if IS_ON and device.type == "cpu" else None


def keep_freed_memory() -> None:
    """Make glibc keep freed memory: if returned, the kernel would zero it again page by page in each training step."""
    if not IS_ON:
        return
    # A step of the tiny UNet: 212 and 320 ms as before, 181 and 245 with kept memory (docs/log-2026-11.md).
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    # None if the C library is not glibc.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, 32 * 2**20)  # the largest value glibc accepts
        mallopt(trim_threshold, 2**31 - 1)


class FlatParameter:
    """One tensor for gradient clipping, the optimizer and the moving average; the given weights become views of it.

    Weights keep their shapes and strides. Moving a weight to other memory detaches it from the tensor.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        # 248 weights of a small UNet: gathering, clipping and AdamW take 9.4 ms, not 21.8 (benchmarks/dreambooth.py).
        self._weights = weights
        self.tensor = nn.Parameter(torch.cat([_in_memory_order(weight.detach()) for weight in weights]))
        parts = self.tensor.detach().split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data = part.as_strided(weight.shape, weight.stride())

    def gather_gradients(self) -> None:
        """Move the gradients of all weights to the flat tensor."""
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self._weights]
        self.tensor.grad = torch.cat([_in_memory_order(gradient) for gradient in gradients])
        for weight in self._weights:
            weight.grad = None  # or the next backward pass would add to it


def _in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """All elements in memory order, `(numel,)`; autograd gives a gradient the strides of its weight."""
    return tensor.as_strided((tensor.numel(),), (1,))


class MatrixConv2d(nn.Conv2d):
    """`nn.Conv2d` that runs as a matrix product where that is faster; the results are equal up to rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` -> `(B, out, H', W')`, channels last in memory."""
        B, C, H, W = x.shape
        rows, columns = (_Taps(size, self, axis) for axis, size in enumerate((H, W)))
        num_places = rows.num_places * columns.num_places
        is_gathered = self.kernel_size != (1, 1) or self.stride != (1, 1) or self.padding != (0, 0)
        # With more output positions than channels, gathering their pixels costs more than it saves.
        is_costly = is_gathered and B * num_places > C
        is_empty = any(min(axis.num_places, axis.num_taps) < 1 for axis in (rows, columns))  # e.g. padding only
        if is_costly or is_empty:
            return super().forward(x)
        # 512 channels at 2 x 2 places, forward: 10.8 ms as a convolution, 3.9 ms as a product (git show 6c2e805).
        gathered = _Gather.apply(x.permute(0, 2, 3, 1), rows, columns) if is_gathered else x.permute(0, 2, 3, 1)
        weights = columns.cut(rows.cut(self.weight, 2), 3).permute(0, 2, 3, 1).flatten(1)
        result = F.linear(gathered, weights, self.bias)
        return result.permute(0, 3, 1, 2)


class _Gather(torch.autograd.Function):
    """The pixels under all kernel taps at each output position (im2col): `(B, H, W, C)` -> `(B, H', W', taps * C)`.

    Autograd would allocate one gradient buffer per tap, each as large as the padded image.
    """

    @staticmethod
    def forward(ctx: Any, pixels: torch.Tensor, rows: "_Taps", columns: "_Taps") -> torch.Tensor:
        ctx.shape, ctx.rows, ctx.columns = pixels.shape, rows, columns
        padded = _pad(pixels, rows, columns, 1)
        taps = [padded[:, row][:, :, column] for row in rows.slices for column in columns.slices]
        return torch.cat(taps, dim=-1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        B, H, W, C = ctx.shape
        height, width = H + sum(ctx.rows.padding), W + sum(ctx.columns.padding)
        padded = gradient.new_zeros(B, height, width, C)
        slices = [(row, column) for row in ctx.rows.slices for column in ctx.columns.slices]
        for (row, column), part in zip(slices, gradient.split(C, dim=-1), strict=True):
            padded[:, row][:, :, column] += part
        return _pad(padded, ctx.rows, ctx.columns, -1), None, None


def _pad(pixels: torch.Tensor, rows: "_Taps", columns: "_Taps", sign: int) -> torch.Tensor:
    """Zero-pad `(B, H, W, C)`, or crop it if `sign` is -1; zero-width padding is skipped, as it would cost a copy."""
    padding = [0, 0, *(sign * width for width in (*columns.padding, *rows.padding))]
    return F.pad(pixels, padding) if any(padding) else pixels


class _Taps:
    """Along one axis, the kernel taps that ever meet the image, and the slice of pixels under each tap."""

    def __init__(self, size: int, conv: nn.Conv2d, axis: int) -> None:
        kernel, stride, pad = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
        self.num_places = (size + 2 * pad - kernel) // stride + 1
        reach = stride * (self.num_places - 1)
        # Other taps meet only padding: eight of the nine of a padded 3x3 kernel on a map of 1x1.
        first, last = max(0, pad - reach), min(kernel - 1, size - 1 + pad)
        self.first, self.num_taps, self.is_whole = first, last - first + 1, last - first + 1 == kernel
        self.padding = (pad - first, max(0, reach + last - pad - (size - 1)))
        self.slices = [slice(tap - first, tap - first + reach + 1, stride) for tap in range(first, last + 1)]

    def cut(self, weight: torch.Tensor, dim: int) -> torch.Tensor:
        """The used taps of `weight`; narrowing to all taps would cost a copy of the gradient."""
        return weight if self.is_whole else weight.narrow(dim, self.first, self.num_taps)


def use_matrix_products(model: nn.Module) -> None:
    """Convert a model's plain convolutions to `MatrixConv2d` in place; weights and their names do not change."""
    if not IS_ON:
        return
    for module in model.modules():
        is_plain = type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1)
        if is_plain and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = MatrixConv2d
