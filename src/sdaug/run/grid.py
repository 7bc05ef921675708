"""The study with several trainings at once: what `dvc repro` would run one after another.

DVC lets two commands run side by side as long as each waits for the other's lock. Stages start with their libraries
imported, see sdaug.run.warm.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from queue import Queue
from typing import TypeVar

from sdaug.run.warm import warm_starts

Item = TypeVar("Item")
Result = TypeVar("Result")

PROGRESS = re.compile(r": \d+/\d+, .* left$")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Stages that come first, with all that they depend on; then chains and single stages, several at once.

    A chain runs in order for each item of the matrix that its stages share. One that uses all cores has no neighbour
    on a machine without a GPU: two at a time took longer there than one after the other.
    """

    first: tuple[str, ...]
    chain: tuple[str, ...]
    beside: tuple[str, ...] = ()
    uses_all_cores: bool = False

    def scripts(self) -> list[Path]:
        """The scripts of its stages."""
        return [Path("stages") / f"{stage}.py" for stage in (*self.first, *self.chain, *self.beside)]


PHASES = (
    Phase(first=("base", "class_images"), chain=("dreambooth", "synthesize"), uses_all_cores=True),
    Phase(first=("split", "holdout"), chain=("train", "evaluate"), beside=("fidelity",)),
)


def run_grid(num_jobs: int) -> None:
    """Bring every stage up to date, with up to `num_jobs` generators or classifiers in work at a time.

    Raises:
        ValueError: a stage has failed; its neighbours have been finished.
    """
    if num_jobs < 1:
        raise ValueError(f"grid: --jobs {num_jobs}; need 1 or more")
    if not find_changes():
        print("Data and pipelines are up to date.")
        return
    gpus = list_gpus()
    for phase in PHASES:
        num_seats = 1 if phase.uses_all_cores and not gpus else num_jobs
        devices = share_devices(num_seats, gpus)
        # CUDA may have been asked for something while libraries were imported, and does not survive a fork.
        starts = nullcontext(dict[str, str]()) if gpus else warm_starts(phase.scripts(), devices[0])
        with starts as warm:
            _run(["dvc", "repro", *phase.first], os.environ | warm)
            chains = stale_chains(find_changes(), list_stages(), phase)
            errors = run_jobs(run_chain, chains, [os.environ | device | warm for device in devices])
        if any(errors):
            raise ValueError("\n".join(filter(None, errors)))
    _run(["dvc", "repro"], os.environ)


def find_changes() -> Mapping[str, object]:
    """The stages that are out of date, as `dvc status` sees them."""
    result = subprocess.run(["dvc", "status", "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise ValueError("`dvc status` failed, see above")
    changes: Mapping[str, object] = json.loads(result.stdout)
    return changes


def list_stages() -> list[str]:
    """The names of all stages, in the order of the graph."""
    command = ["dvc", "stage", "list", "--name-only"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def stale_chains(changes: Mapping[str, object], stages: Sequence[str], phase: Phase) -> list[list[str]]:
    """The chains of which a stage is out of date, as names of stages (`train@vit-original-0`)."""
    items = [stage.partition("@")[2] for stage in stages if stage.startswith(f"{phase.chain[0]}@")]
    chains = [[stage] for stage in phase.beside] + [[f"{step}@{item}" for step in phase.chain] for item in items]
    return [chain for chain in chains if any(stage in changes for stage in chain)]


def list_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return list(takewhile(lambda name: name and not name.startswith("-"), chosen.split(",")))  # as CUDA reads it
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.split() if result.returncode == 0 else []


def share_devices(num_jobs: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """What each job adds to its environment: a GPU of its own, or of as few others as can be.

    Waiting threads that spin would take the core of the job next door.
    """
    patience = {"OMP_WAIT_POLICY": "passive"} if num_jobs > 1 else {}
    if len(gpus) < 2:
        return [patience] * num_jobs
    return [patience | {"CUDA_VISIBLE_DEVICES": gpus[job % len(gpus)]} for job in range(num_jobs)]


def run_jobs(
    work: Callable[[Item, dict[str, str]], Result], items: Iterable[Item], jobs: Sequence[dict[str, str]]
) -> list[Result]:
    """Work on all items, one at a time for each job, given the item and the job's environment; results in order."""
    seats = Queue[dict[str, str]]()
    for environment in jobs:
        seats.put(environment)

    def take_seat(item: Item) -> Result:
        environment = seats.get()
        try:
            return work(item, environment)
        finally:
            seats.put(environment)

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(take_seat, items))


def run_chain(chain: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Stages one after the other, in one process of DVC; what went wrong, if anything did.

    Of what they say, lines of progress are passed on as they come.
    """
    begin, said = time.monotonic(), list[str]()
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", *chain]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if PROGRESS.search(line):
                print(line.rstrip(), file=sys.stderr, flush=True)
    name, seconds = ", ".join(chain), time.monotonic() - begin
    print(f"{name}: {'FAILED' if process.returncode else f'{seconds:.0f} s'}", file=sys.stderr, flush=True)
    return f"{name}: failed; its output:\n{''.join(said).strip()}" if process.returncode else None


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    if subprocess.run(command, env=environment, check=False).returncode:
        raise ValueError(f"`{' '.join(command)}` failed, see above")
