"""Convolutions of small images as matrix products.

Where an image has shrunk to a few places and has hundreds of channels, a convolution on a CPU spends its time on
rearranging its weights. One matrix product for all places of a batch needs no other order than channels last.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class MatrixConv2d(nn.Conv2d):
    """`nn.Conv2d` that becomes a matrix product where that is faster; the same numbers up to rounding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` -> `(B, out, H', W')`, channels last in memory."""
        B, C, H, W = x.shape
        rows, columns = (_Taps(size, self, axis) for axis, size in enumerate((H, W)))
        num_places = rows.num_places * columns.num_places
        is_gathered = self.kernel_size != (1, 1) or self.stride != (1, 1) or self.padding != (0, 0)
        # With more places than channels, gathering the pixels that each place needs costs more than it saves.
        is_costly = is_gathered and B * num_places > C
        is_empty = any(min(axis.num_places, axis.num_taps) < 1 for axis in (rows, columns))  # padding alone, say
        if is_costly or is_empty:
            return super().forward(x)
        gathered = _Gather.apply(x.permute(0, 2, 3, 1), rows, columns) if is_gathered else x.permute(0, 2, 3, 1)
        weights = columns.cut(rows.cut(self.weight, 2), 3).permute(0, 2, 3, 1).flatten(1)
        result = F.linear(gathered, weights, self.bias)
        return result.permute(0, 3, 1, 2)


class _Gather(torch.autograd.Function):
    """Beside each place, the pixels under all taps of the kernel: `(B, H, W, C)` -> `(B, H', W', taps * C)`.

    Autograd would give each tap's gradient a buffer of its own, as large as the padded image.
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
    """Zeros around `(B, H, W, C)`, or with the sign -1 without them; padding by nothing would cost a copy."""
    padding = [0, 0, *(sign * width for width in (*columns.padding, *rows.padding))]
    return F.pad(pixels, padding) if any(padding) else pixels


class _Taps:
    """Along one axis, the part of a kernel that ever meets the image, and what each of its taps sees."""

    def __init__(self, size: int, conv: nn.Conv2d, axis: int) -> None:
        kernel, stride, pad = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
        self.num_places = (size + 2 * pad - kernel) // stride + 1
        reach = stride * (self.num_places - 1)
        first, last = max(0, pad - reach), min(kernel - 1, size - 1 + pad)
        self.first, self.num_taps, self.is_whole = first, last - first + 1, last - first + 1 == kernel
        self.padding = (pad - first, max(0, reach + last - pad - (size - 1)))
        self.slices = [slice(tap - first, tap - first + reach + 1, stride) for tap in range(first, last + 1)]

    def cut(self, weight: torch.Tensor, dim: int) -> torch.Tensor:
        """The used taps alone; a cut that keeps all would cost a copy of the gradient."""
        return weight if self.is_whole else weight.narrow(dim, self.first, self.num_taps)


def use_matrix_products(model: nn.Module) -> None:
    """Turn the plain convolutions of a model into `MatrixConv2d`; weights and their names stay."""
    for module in model.modules():
        is_plain = type(module) is nn.Conv2d and module.groups == 1 and module.dilation == (1, 1)
        if is_plain and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = MatrixConv2d
