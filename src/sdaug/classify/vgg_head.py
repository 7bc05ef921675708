"""Maps of small images, spread to the size that VGG's head was made for."""

import torch
from torch import nn

HEAD = "pre_logits"


def spread_small_maps(model: nn.Module) -> None:
    """Let VGG's head get maps of its own size, as timm's adaptive average pooling would make them.

    That operation's gradient has no order of its sums on a GPU, so it is refused where results have to repeat.
    """
    head: nn.Module | None = getattr(model, HEAD, None)
    if head is not None and hasattr(head, "input_kernel_size"):
        head.register_forward_pre_hook(_spread)


def _spread(head: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """`(B, C, h, w)` -> `(B, C, H, W)`, no smaller than the head's kernel."""
    (x,) = inputs
    H, W = (max(size, int(head.input_kernel_size)) for size in x.shape[-2:])  # type: ignore[arg-type]
    if x.shape[-2:] == (H, W):
        return inputs
    rows, columns = (_means(size, wanted, x) for size, wanted in zip(x.shape[-2:], (H, W), strict=True))
    return ((rows @ x @ columns.T).contiguous(memory_format=torch.channels_last),)


def _means(size: int, wanted: int, like: torch.Tensor) -> torch.Tensor:
    """`(wanted, size)`: each place is the mean of those that its share of the map touches."""
    places = torch.arange(size, device=like.device)
    begin = torch.arange(wanted, device=like.device)[:, None] * size
    touched = (places >= begin // wanted) & (places < (begin + size + wanted - 1) // wanted)
    return (touched / touched.sum(dim=1, keepdim=True)).to(like.dtype)
