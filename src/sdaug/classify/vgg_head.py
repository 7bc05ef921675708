"""Deterministic upsampling of small feature maps to the size that VGG's head expects."""

import torch
from torch import nn

HEAD = "pre_logits"


def spread_small_maps(model: nn.Module) -> None:
    """Upsample the input of VGG's head to the size it expects, as timm's adaptive average pooling would.

    On a GPU the backward pass of that pooling sums in no fixed order, so torch's deterministic mode refuses it.
    """
    head: nn.Module | None = getattr(model, HEAD, None)
    if head is not None and hasattr(head, "input_kernel_size"):
        head.register_forward_pre_hook(_spread)


def _spread(head: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """`(B, C, h, w)` -> `(B, C, H, W)`, at least as large as the head's kernel."""
    (x,) = inputs
    H, W = (max(size, int(head.input_kernel_size)) for size in x.shape[-2:])  # type: ignore[arg-type]
    if x.shape[-2:] == (H, W):
        return inputs
    rows, columns = (_means(size, wanted, x) for size, wanted in zip(x.shape[-2:], (H, W), strict=True))
    return ((rows @ x @ columns.T).contiguous(memory_format=torch.channels_last),)


def _means(size: int, wanted: int, like: torch.Tensor) -> torch.Tensor:
    """Pooling matrix `(wanted, size)`: each output is the mean of the inputs that its bin overlaps."""
    places = torch.arange(size, device=like.device)
    # Bin i goes from floor(i * size / wanted) to ceil((i + 1) * size / wanted), as in torch's adaptive pooling.
    begin = torch.arange(wanted, device=like.device)[:, None] * size
    touched = (places >= begin // wanted) & (places < (begin + size + wanted - 1) // wanted)
    return (touched / touched.sum(dim=1, keepdim=True)).to(like.dtype)
