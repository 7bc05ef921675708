"""Chains of stages, several at once: which DVC process runs which of them, and what it says of those that fail."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import TypeVar

from sdaug.run.worker import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

# A line of sdaug.common.progress, such as `VAE: 3/9, 1.0 step/s, 6 s left`, or what sdaug.run.engine says of a worker.
PROGRESS = re.compile(r": \d+/\d+, .* left$|: its worker died \(")
# What DVC prints when it comes to a stage.
REACHED = re.compile(r"(?:Running stage|Stage) '([^']+)'")
SHARES = 4  # a seat takes so small a part of its share of what is left: 1 would leave others idle at the end

Chain = Sequence[str]  # names of stages, in their order


def run_jobs(
    work: Callable[[Item, dict[str, str]], Result], items: Iterable[Item], jobs: Sequence[dict[str, str]]
) -> list[Result]:
    """The results of `work(item, environment)` in item order; each environment in `jobs` has one item at a time."""
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


def share_out(chains: Sequence[Chain], num_seats: int) -> list[Sequence[Chain]]:
    """The chains, in their order, as batches for one DVC process each: large ones first, then single ones.

    A process loads all of dvc.yaml and dvc.lock before its first stage, so the more chains there are, the more it gets
    (guided self-scheduling, doi 10.1109/TC.1987.5009495). With few chains each has a process of its own.
    """
    batches, place = list[Sequence[Chain]](), 0
    while place < len(chains):
        size = max(1, (len(chains) - place) // (SHARES * num_seats))
        batches.append(chains[place : place + size])
        place += size
    return batches


def run_chains(chains: Sequence[Chain], jobs: Sequence[dict[str, str]]) -> list[str]:
    """Run chains with as many DVC processes at once as there are environments; the errors of those that fail.

    The others run nevertheless: what a failure leaves of its batch is shared out again at the end.
    """
    errors = list[str]()
    while chains:
        ended = run_jobs(run_batch, share_out(chains, len(jobs)), jobs)
        errors += [error for _, error in ended if error]
        chains = [chain for left, _ in ended for chain in left]
    return errors


def run_batch(chains: Sequence[Chain], environment: Mapping[str, str]) -> tuple[Sequence[Chain], str | None]:
    """Run chains one after the other in one DVC process, up to the first that fails.

    Progress lines are passed on to stderr as they come.

    Returns:
        The chains after one that failed, and its error message with its output, or None.
    """
    begin, place, said = time.monotonic(), 0, list[str]()
    places = {stage: index for index, chain in enumerate(chains) for stage in chain}
    # `--single-item`, because the phase's first stages have brought all dependencies up to date.
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", *places]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_with_parent(signal.SIGTERM),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            reached = REACHED.match(line)
            while reached and place < places.get(reached[1], 0):
                _tell(chains[place], f"{time.monotonic() - begin:.0f} s")
                begin, place, said = time.monotonic(), place + 1, []
            said.append(line)
            if PROGRESS.search(line):
                print(line.rstrip(), file=sys.stderr, flush=True)
    if process.returncode:
        _tell(chains[place], "FAILED")
        return chains[place + 1 :], f"{', '.join(chains[place])}: failed; its output:\n{''.join(said).strip()}"
    for chain in chains[place:]:
        _tell(chain, f"{time.monotonic() - begin:.0f} s")
    return [], None


def _tell(chain: Chain, end: str) -> None:
    print(f"{', '.join(chain)}: {end}", file=sys.stderr, flush=True)
