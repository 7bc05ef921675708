"""Training a whole small network from its losses: what the adapted base and `sdaug pretrain` have in common.

Everything that changes from step to step is in `Progress`, so an interrupted training gives the bytes of an unbroken
one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import nn

from sdaug.common.checkpoint import Checkpoint, Progress
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.progress import progress

Report = Callable[[int, Mapping[str, float]], None]


def moving_average(weights: Sequence[nn.Parameter], decay: float) -> EMAModel:
    """The exponential moving average of weights; power 3/4 is diffusers' advice for short training."""
    return EMAModel(weights, decay=decay, use_ema_warmup=True, power=0.75, foreach=True)


class WeightTraining:
    """AdamW, a cosine schedule, a moving average and a random stream of all weights of some modules."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        losses: Sequence[str],
        stream: torch.Generator,
        *,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        warmup_steps: int,
        schedule_steps: int,
        ema_decay: float,
    ) -> None:
        self.modules, self.stream = modules, stream
        self.device = next(modules[0].parameters()).device
        for module in modules:
            module.train().requires_grad_(True).to(memory_format=torch.channels_last)
        self.weights = [weight for module in modules for weight in module.parameters()]
        self._optimizer = torch.optim.AdamW(
            self.weights, lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True
        )
        self._schedule = get_cosine_schedule_with_warmup(self._optimizer, warmup_steps, schedule_steps)
        self._average = moving_average(self.weights, ema_decay)
        self.monitor = LossMonitor(losses, self.device)
        self.progress = Progress(
            weights=self.weights,
            optimizer=self._optimizer,
            schedule=self._schedule,
            stream=stream,
            average=self._average,
            monitor=self.monitor,
        )

    def update(self, loss: torch.Tensor) -> None:
        """One optimizer step; gradients are clipped to norm 1."""
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._average.step(self.weights)

    def finish(self) -> None:
        """Keep the moving average."""
        self._average.copy_to(self.weights)
        for module in self.modules:
            module.eval().requires_grad_(False)


class Loop(Protocol):
    """One step at a time, with all that changes in its training."""

    training: WeightTraining

    def step(self, number: int) -> None: ...


def run_loop(
    loop: Loop,
    num_steps: int,
    checkpoint: Checkpoint | None,
    *,
    report_steps: int,
    title: str,
    where: str,
    way_out: str,
    key: str = "",
    report: Report | None = None,
) -> list[tuple[int, dict[str, float]]]:
    """Run all steps that are left and keep the moving average; returns the mean losses of all, with their steps.

    `report` gets these too, those from before a checkpoint first. A checkpoint with another key is not taken.

    Raises:
        ValueError: a loss is not finite; the message begins with `where` and ends with `way_out`.
    """
    training, done, rows = loop.training, 0, list[tuple[int, dict[str, float]]]()
    state: dict[str, Any] | None = checkpoint.load() if checkpoint else None
    if state and state["key"] == key:
        training.progress.restore(state["state"])
        done, rows = state["step"], state["rows"]
        if report:
            for step, means in rows:
                report(step, means)
    for step in progress(range(done + 1, num_steps + 1), title=title, total=num_steps - done):
        loop.step(step)
        if step % report_steps == 0 or step == num_steps:
            means = training.monitor.means(where=where, way_out=way_out)
            rows.append((step, means))
            if report:
                report(step, means)
        # The last state too: what comes next would else begin with this training.
        if checkpoint and (checkpoint.is_due() or step == num_steps):
            checkpoint.save({"key": key, "step": step, "rows": rows, "state": training.progress.state()})
    training.finish()
    return rows
