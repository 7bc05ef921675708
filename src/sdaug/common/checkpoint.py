"""Work that goes on where it was stopped, and ends with the bytes of an unbroken run.

A stage writes to a folder beside its output, which is kept if the stage is stopped at any moment. Finished parts are
there by name, and what is under way is a checkpoint. The folder belongs to a key of params, code, inputs and machine;
for another key it is emptied.
"""

import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from sdaug.common.files import clear, move_to, remove, scratch_dir
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.tracking import md5_of

if TYPE_CHECKING:  # classifiers have no use for it, and it is slow to import
    from diffusers.training_utils import EMAModel

PACKAGE = Path(__file__).parents[1]
KEY = ".key"
EVERY_SECONDS = 45.0  # less than a minute of work is lost
# The weights, moments and average of a large model are gigabytes: writing them takes at most this part of the time.
MAX_SHARE = 0.1

State = dict[str, Any]


@contextmanager
def resumable_dir(target: Path, key: str) -> Iterator[Path]:
    """A folder to write to that replaces `target` when the block ends; if it is stopped, a next run finds it again.

    Names that start with a dot are for work in progress, and are gone at the end. After an error of the user
    (`ValueError`) nothing is kept.

    Raises:
        ValueError: the folder cannot be created, or another run is writing it.
    """
    with scratch_dir(target) as scratch:
        if _read_key(scratch) != key:
            clear(scratch)
            (scratch / KEY).write_text(key, encoding="utf-8")
        elif len(list(scratch.iterdir())) > 1:
            print(f"{target}: going on where an earlier run stopped", file=sys.stderr, flush=True)
        try:
            yield scratch
        except ValueError:
            shutil.rmtree(scratch)
            raise
        for path in scratch.glob(".*"):
            remove(path)
        move_to(scratch, target)


def work_key(settings: Mapping[str, Any], inputs: Sequence[Path], *, of_machine: bool = True) -> str:
    """A hash of all that the bytes of a stage's work depend on: settings, inputs, code, libraries, kind of machine.

    Without the last of these if parts of the work may come from other machines.
    """
    facts: dict[str, Any] = {
        "settings": settings,
        "inputs": [md5_of(path) for path in inputs],
        "code": _code_hash(Path(sys.argv[0])),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if of_machine:
        is_cuda = torch.cuda.is_available()
        facts["threads"] = torch.get_num_threads()
        facts["device"] = torch.cuda.get_device_name() if is_cuda else torch.backends.cpu.get_cpu_capability()
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


class Checkpoint:
    """The state of a loop in a file that is always whole: it is written beside it, and renamed."""

    def __init__(self, path: Path, *, every_seconds: float | None = None) -> None:
        self.path = path
        wanted = every_seconds if every_seconds is not None else os.environ.get("SDAUG_CHECKPOINT_SECONDS")
        self._every = EVERY_SECONDS if wanted is None else float(wanted)
        self._saved, self._took = time.monotonic(), 0.0

    def load(self) -> State | None:
        """The state that was saved last, on the CPU; None if there is none, or if the file is damaged."""
        if not self.path.is_file():
            return None
        try:
            state: State = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the work can start again
            print(f"{self.path}: damaged ({error!r}); starting again", file=sys.stderr, flush=True)
            return None
        return state

    def is_due(self) -> bool:
        """Whether it is time to save the state."""
        return time.monotonic() - self._saved >= (max(self._every, self._took / MAX_SHARE) if self._every else 0.0)

    def save(self, state: State) -> None:
        """Save a state, so that it outlives a power cut."""
        begin = time.monotonic()
        scratch = self.path.with_name(f"{self.path.name}.partial")
        with scratch.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self.path)
        self._saved = time.monotonic()
        self._took = self._saved - begin

    def clear(self) -> None:
        """Delete the file: the work is done."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """All that changes from step to step in a training: what a checkpoint holds of it."""

    weights: Sequence[torch.Tensor]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    stream: torch.Generator
    average: "EMAModel | None" = None
    monitor: LossMonitor | None = None

    def state(self) -> State:
        return {
            "weights": [weight.detach() for weight in self.weights],
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "stream": self.stream.get_state(),
            "average": self.average.state_dict() if self.average else None,
            "monitor": self.monitor.state() if self.monitor else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; weights are written in place, so that whatever refers to them sees the values."""
        with torch.no_grad():
            for weight, value in zip(self.weights, state["weights"], strict=True):
                weight.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.stream.set_state(state["stream"])
        if self.average:
            self.average.load_state_dict(state["average"])
            self.average.to(device=self.weights[0].device)
        if self.monitor:
            self.monitor.restore(state["monitor"])


def _read_key(scratch: Path) -> str | None:
    path = scratch / KEY
    return path.read_text(encoding="utf-8") if path.is_file() else None


@cache
def _code_hash(script: Path) -> str:
    """The hash of the package and of the script that runs."""
    digest = hashlib.sha256()
    for path in [*sorted(PACKAGE.rglob("*.py")), *([script] if script.is_file() else [])]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
