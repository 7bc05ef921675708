"""Timing of training runs that take turns: one runs for a few seconds while the others are stopped.

The speed of a shared machine varies from minute to minute by more than the differences to be measured; runs that
alternate see the same conditions. A step is the time between two optimizer calls, whatever code makes them.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Runs a script with its arguments, and records when each step ended and the peak GPU memory so far.
TIMED = """
import pathlib, runpy, sys, time, torch
from torch.optim.optimizer import register_optimizer_step_post_hook
stream = open(sys.argv[1], "w", buffering=1)
def note(*_):
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    print(time.monotonic(), torch.cuda.max_memory_allocated() / 2**20, file=stream)
register_optimizer_step_post_hook(note)
sys.argv = sys.argv[2:]
sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Training:
    """A script with its arguments, working directory and extra environment variables."""

    command: Sequence[str]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def medians(rounds: Sequence[NDArray[np.float64]]) -> list[float]:
    """The median step of each round, which ignores the time between epochs."""
    return [float(np.median(steps)) for steps in rounds]


def means(rounds: Sequence[NDArray[np.float64]]) -> list[float]:
    """The mean step of each round, which includes the time between epochs."""
    return [float(np.mean(steps)) for steps in rounds]


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median over rounds of the ratio within each round."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def take_turns(
    trainings: Mapping[str, Training], *, num_rounds: int, turn_seconds: float, warm_up_steps: int = 5
) -> tuple[dict[str, list[NDArray[np.float64]]], dict[str, float]]:
    """Each run's steps by round in milliseconds, and its peak memory in MiB (GPU memory, if there is a GPU).

    The training runs must not end by themselves; they are killed after the last round.
    """
    runners: dict[str, _Runner] = {}
    try:
        for name, training in trainings.items():
            runners[name] = _Runner(training)
            # This ends with the run stopped, so it does not disturb the start of the next one.
            runners[name].warm_up(warm_up_steps)
        rounds: dict[str, list[NDArray[np.float64]]] = {name: [] for name in trainings}
        for _ in range(num_rounds):
            for name, runner in runners.items():
                rounds[name].append(runner.run(turn_seconds))
        return rounds, {name: runner.end() for name, runner in runners.items()}
    finally:
        for runner in runners.values():
            runner.end()


class _Runner:
    """A training run in its own process group, stopped except during its turns."""

    def __init__(self, training: Training) -> None:
        self._peak_mib: float | None = None
        self._moments = training.cwd / f"moments-{time.monotonic_ns()}.txt"
        self._log = self._moments.with_suffix(".log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", TIMED, str(self._moments), *training.command],
                cwd=training.cwd,
                env=os.environ | dict(training.environment),
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its data loader workers stop with it
            )

    def warm_up(self, num_steps: int) -> None:
        while len(self._read()) < num_steps:
            self._check_alive()
            time.sleep(0.1)
        self._signal(signal.SIGSTOP)

    def run(self, seconds: float) -> NDArray[np.float64]:
        """The steps of one turn in milliseconds, at least three."""
        num_before = len(self._read())
        begin = time.monotonic()
        self._signal(signal.SIGCONT)
        # Five moments have four steps between them, and the first of these is dropped below.
        while time.monotonic() < begin + seconds or len(self._read()) < num_before + 5:
            self._check_alive()
            time.sleep(0.05)
        self._signal(signal.SIGSTOP)
        # The first step of a turn was interrupted midway, and the second starts with cold caches.
        return 1000 * np.diff(self._read()[num_before:])[1:]

    def end(self) -> float:
        """Kill the run and return its peak memory in MiB (GPU memory, if there is a GPU)."""
        if self._peak_mib is None:
            # A stopped process would not see SIGTERM before it goes on.
            self._signal(signal.SIGKILL)
            # Popen's own `wait` does not tell the peak memory, here in KiB.
            _, status, usage = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            on_gpu = max((peak for _, peak in self._lines()), default=0.0)
            self._peak_mib = on_gpu or usage.ru_maxrss / 1024
        return self._peak_mib

    def _read(self) -> list[float]:
        return [moment for moment, _ in self._lines()]

    def _lines(self) -> list[tuple[float, float]]:
        # What follows the last line end may be half written.
        lines = self._moments.read_text().split("\n")[:-1] if self._moments.exists() else []
        return [(float(moment), float(peak)) for moment, peak in map(str.split, lines)]

    def _signal(self, which: signal.Signals) -> None:
        os.killpg(self._process.pid, which)

    def _check_alive(self) -> None:
        # `poll` would reap the process and lose its peak memory.
        state = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "Z":
            sys.exit(f"{self._process.args}\n{self._log.read_text()[-3000:]}")
