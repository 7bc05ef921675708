"""Stages as jobs of Slurm, by submitit; each waits for its turn in the queue by itself."""

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from sdaug.run.engine import LostWorkerError
from sdaug.run.needs import Needs
from sdaug.run.worker import Event, Task, Worker, run_task

JOBS_DIR = Path(".work/slurm")  # of the study's folder, which workers see
SEATS = 16  # jobs in the queue at once, unless the user says otherwise
TIME_MINUTES = 1440
POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class SlurmEngine:
    """Submits jobs from this machine."""

    executor: Any
    lock: threading.Lock = field(default_factory=threading.Lock)
    has_gpus: bool = False  # nobody knows before a job runs
    address: str | None = None

    def count_seats(self, needs: Needs) -> int:  # noqa: ARG002 - Slurm's queue holds what does not fit
        """How many jobs are in the queue at once."""
        return SEATS

    def submit(self, task: Task, needs: Needs) -> "SlurmAttempt":
        """Put a stage into the queue; Slurm gives whole GPUs."""
        said = Path(task.folder, JOBS_DIR, f"{uuid.uuid4().hex}.out")
        said.parent.mkdir(parents=True, exist_ok=True)
        said.touch()
        with self.lock:  # the parameters belong to the next job
            self.executor.update_parameters(
                job_name=f"sdaug-{Path(task.words[0]).stem}",
                cpus_per_task=needs.cores,
                mem=f"{ceil(needs.memory_bytes / 2**20)}M",
                **({"gpus_per_node": ceil(needs.gpu_share)} if needs.gpu_share else {}),
            )
            job = self.executor.submit(run_job, task, said)
        return SlurmAttempt(job=job, said=said)


@dataclass(frozen=True, kw_only=True)
class SlurmAttempt:
    """A job, and the file that it writes what the stage prints to."""

    job: Any
    said: Path
    stopped: threading.Event = field(default_factory=threading.Event)

    def events(self) -> Iterator[Event]:
        """See `sdaug.run.engine.Attempt`."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        with self.said.open("rb") as output:
            is_done = False
            while not is_done:
                is_done = self.job.done()  # asked before the last look at the file
                if self.stopped.is_set():
                    raise LostWorkerError("stopped")
                text = output.read()
                if text:
                    yield text
                elif not is_done:
                    time.sleep(POLL_SECONDS)
        try:
            worker, error, status = self.job.result()
        except (FailedJobError, UncompletedJobError) as lost:
            raise LostWorkerError(f"job {self.job.job_id}: {self.job.state}; see {self.said.parent}") from lost
        if worker:
            yield worker
        if error:
            raise ValueError(error)
        yield status

    def cancel(self) -> None:
        """Take the job out of the queue, or stop it."""
        self.stopped.set()
        self.job.cancel(check=False)


def run_job(task: Task, said: Path) -> tuple[Worker | None, str | None, int]:
    """What a job does: run the stage and write what it prints to a file; its worker, an error of that, its status."""
    worker, status = None, 1
    with said.open("ab", buffering=0) as output:
        try:
            for event in run_task(task):
                if isinstance(event, dict):
                    worker = event
                elif isinstance(event, bytes):
                    output.write(event)
                elif isinstance(event, int):
                    status = event
        except ValueError as error:
            return worker, str(error), 1
    return worker, None, status


def connect_slurm(options: Mapping[str, str]) -> SlurmEngine:
    """An engine that submits jobs with these options of sbatch, as submitit names them.

    Raises:
        ValueError: submitit or Slurm is not installed, or an option is unknown.
    """
    try:
        import submitit
    except ImportError as error:
        raise ValueError("grid: --on slurm: submitit is not installed; pip install 'sdaug[slurm]'") from error
    try:
        executor = submitit.SlurmExecutor(folder=JOBS_DIR.resolve())
    except RuntimeError as error:
        raise ValueError(f"grid: --on slurm: {error} run on a machine that submits jobs") from error
    try:
        given = {name: int(value) if value.isdecimal() else value for name, value in options.items()}
        executor.update_parameters(**({"time": TIME_MINUTES, "stderr_to_stdout": True} | given))
    except ValueError as error:
        names = " ".join(str(error).split("\n")[0].split())
        raise ValueError(f"grid: --slurm: {names}; see submitit.SlurmExecutor for those that there are") from error
    return SlurmEngine(executor=executor)
