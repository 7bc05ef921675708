"""Mean losses and the first one that is not finite, without making any step wait for the device."""

from collections.abc import Sequence

import torch


class LossMonitor:
    """Sums of losses and the first step that was not finite, both kept on the device until they are asked for."""

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self._names = names
        self._sums, self._count = torch.zeros(len(names), device=device), 0
        self._bad_step = torch.zeros((), dtype=torch.long, device=device)

    def add(self, step: int, losses: Sequence[torch.Tensor], *, num_images: int = 1) -> None:
        """Count the mean losses of so many images, one for each name; steps start with 1."""
        values = torch.stack([loss.detach() for loss in losses])
        is_first = (~torch.isfinite(values)).any() & (self._bad_step == 0)
        self._bad_step = torch.where(is_first, step, self._bad_step)
        self._sums, self._count = self._sums + values * num_images, self._count + num_images

    def means(self, *, where: str, way_out: str) -> dict[str, float]:
        """Each loss's mean since the last time.

        Raises:
            ValueError: one was not finite, with its step.
        """
        bad_step = int(self._bad_step)
        if bad_step:
            raise ValueError(f"{where}: step {bad_step}: the loss is not finite; {way_out}")
        means = (self._sums / self._count).tolist()
        self._sums, self._count = torch.zeros_like(self._sums), 0
        return dict(zip(self._names, means, strict=True))


def check_finite(loss: torch.Tensor, *, where: str) -> float:
    """The value of a loss, or a ValueError that names the step at which it exploded."""
    value = float(loss.detach())
    if not torch.isfinite(loss.detach()).all():
        raise ValueError(f"{where}: the loss is {value}; lower the learning rate")
    return value
