"""Running mean losses and the first step with a non-finite loss, without a device synchronisation per step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

# The learning rate has not had its turn: the first loss is that of the weights as they were loaded.
AT_ONCE = (
    "no weight has changed yet, so the learning rate is not to blame but the precision, or the weights or photos "
    "themselves; use precision fp32 or bf16, and if it is fp32 already, another base"
)


class LossMonitor:
    """Loss sums and the first step with a non-finite loss, kept on the device until `means` is called."""

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self._names = names
        self._sums, self._count = torch.zeros(len(names), device=device), 0
        self._bad_step = torch.zeros((), dtype=torch.long, device=device)  # 0: none, since steps start at 1

    def add(self, step: int, losses: Sequence[torch.Tensor], *, num_images: int = 1) -> None:
        """Add one mean loss per name, weighted by `num_images`; steps start at 1."""
        # Tensor operations only: reading a value would make the host wait for the GPU.
        values = torch.stack([loss.detach() for loss in losses])
        is_first = (~torch.isfinite(values)).any() & (self._bad_step == 0)
        self._bad_step = torch.where(is_first, step, self._bad_step)
        self._sums, self._count = self._sums + values * num_images, self._count + num_images

    def state(self) -> dict[str, Any]:
        """The sums since the last call of `means`."""
        return {"sums": self._sums, "count": self._count, "bad_step": self._bad_step}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        device = self._sums.device
        self._sums, self._bad_step = state["sums"].to(device), state["bad_step"].to(device)
        self._count = state["count"]

    def means(self, *, where: str, way_out: str, is_start: bool = True) -> dict[str, float]:
        """The mean of each loss since the last call; `is_start` unless steps are counted anew in a later epoch.

        Raises:
            ValueError: a loss was not finite; the message names the first such step, and `way_out` unless it is step 1.
        """
        bad_step = int(self._bad_step)
        if bad_step == 1 and is_start:
            way_out = AT_ONCE
        if bad_step:
            raise ValueError(f"{where}: step {bad_step}: the loss is not finite; {way_out}")
        means = (self._sums / self._count).tolist()
        self._sums, self._count = torch.zeros_like(self._sums), 0
        return dict(zip(self._names, means, strict=True))


def check_finite(loss: torch.Tensor, *, where: str) -> float:
    """The value of a loss.

    Raises:
        ValueError: it is not finite; `where` starts the message.
    """
    value = float(loss.detach())
    if not torch.isfinite(loss.detach()).all():
        raise ValueError(f"{where}: the loss is {value}; lower the learning rate")
    return value
