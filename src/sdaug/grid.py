"""The study with several trainings at once: what `dvc repro` would run one after another.

A training of this size leaves cores idle for a third of its time, while Python imports torch. DVC lets two commands
run side by side as long as each waits for the other's lock.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

FRONT = ("split", "holdout")  # with all that they depend on
CHAIN = ("train", "evaluate")  # of one model, data set and seed, in this order


def run_grid(num_jobs: int) -> None:
    """Bring every stage up to date, with up to `num_jobs` trainings or evaluations at a time.

    Raises:
        ValueError: a stage has failed; the others have been finished.
    """
    if num_jobs < 1:
        raise ValueError(f"grid: --jobs {num_jobs}; need 1 or more")
    status = find_changes()
    if status is not None and not status:
        print("Data and pipelines are up to date.")
        return
    _run(["dvc", "repro", *FRONT], os.environ)
    items = stale_items(find_changes() or {}, list_stages())
    # Waiting threads that spin would take the core of the training next door.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"} if num_jobs > 1 else os.environ
    with ThreadPoolExecutor(num_jobs) as pool:
        errors = [error for error in pool.map(lambda item: run_chain(item, environment), items) if error]
    if errors:
        raise ValueError("\n".join(errors))
    _run(["dvc", "repro"], os.environ)


def find_changes() -> Mapping[str, object] | None:
    """The stages that are out of date, as `dvc status` sees them; None where it can't yet say."""
    result = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    found: Mapping[str, object] | None = json.loads(result.stdout) if result.returncode == 0 else None
    return found


def list_stages() -> list[str]:
    """The names of all stages, in the order of the graph."""
    command = ["dvc", "stage", "list", "--name-only"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def stale_items(changes: Mapping[str, object], stages: Sequence[str]) -> list[str]:
    """`model-dataset-seed` of each training that is out of date, or whose evaluation is."""
    names = [stage.partition("@")[2] for stage in stages if stage.startswith(f"{CHAIN[0]}@")]
    return [name for name in names if any(f"{step}@{name}" in changes for step in CHAIN)]


def run_chain(item: str, environment: Mapping[str, str]) -> str | None:
    """Train and evaluate one item; what went wrong, if anything did."""
    for step in CHAIN:
        stage, begin = f"{step}@{item}", time.monotonic()
        result = subprocess.run(
            ["dvc", "--wait-for-lock", "repro", "--single-item", stage],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            print(f"{stage}: failed", file=sys.stderr, flush=True)
            return f"{stage}: failed; its output:\n{result.stdout.strip()}"
        print(f"{stage}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return None


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    if subprocess.run(command, env=environment, check=False).returncode:
        raise ValueError(f"`{' '.join(command)}` failed, see above")
