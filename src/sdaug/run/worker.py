"""What runs on the machine of a worker: one stage, in a process of its own, with what it says as it says it.

Engines send this module to their workers, so it imports the standard library alone.
"""

import ctypes
import importlib.metadata
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

# Whose versions can change a number.
LIBRARIES = (
    *("accelerate", "diffusers", "numpy", "peft", "pillow", "safetensors", "scikit-learn", "scipy", "timm", "torch"),
    *("torchvision", "transformers"),
)
CHECK_SECONDS = 0.5  # between two looks whether the stage is to be stopped
STOP_SECONDS = 20.0  # for a stage to end its MLflow run
CHUNK_BYTES = 65536
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A stage to run: its script and arguments, the study's folder, and variables beside those of the worker.

    `versions` are those of the caller, which the worker's have to equal if they are given.
    """

    words: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    has_gpu: bool
    versions: Mapping[str, str] | None = None


class Worker(TypedDict):
    """Where a stage runs: what its numbers may depend on beside its inputs. A dictionary, which any worker can send."""

    host: str
    processor: str
    gpus: list[str]
    versions: dict[str, str]


def run_task(task: Task) -> Iterator[Worker | bytes | int]:
    """Yield the worker, then what the stage prints, then its exit status; a stage that is not waited for is stopped.

    Raises:
        ValueError: the study's folder is not here, or libraries have other versions than those of the caller.
    """
    here = describe_worker(has_gpu=task.has_gpu)
    yield here
    host, versions = here["host"], here["versions"]
    if not Path(task.folder, task.words[0]).is_file():
        raise ValueError(f"{host}: {task.folder}: not here; workers need the study's folder at the same path")
    others = compare_versions(versions, task.versions or versions)
    if others:
        raise ValueError(f"{host}: {others}; install the same, or leave out --same-versions")
    environment = {**os.environ, **task.environment}
    if not task.has_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # a worker without a GPU of its own sees those of others
    with subprocess.Popen(
        [sys.executable, *task.words],
        cwd=task.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_death_wish(),
    ) as stage:
        try:
            yield from _follow(stage)
            yield stage.wait()
        finally:
            _stop(stage)


def describe_worker(*, has_gpu: bool) -> Worker:
    """This machine and its libraries."""
    return Worker(
        host=platform.node(),
        processor=_processor(),
        gpus=_gpus() if has_gpu else [],
        versions=list_versions(),
    )


def list_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that are installed here."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def compare_versions(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """The versions that differ, as text; empty if none does."""
    return ", ".join(
        f"{name} {here.get(name, 'missing')} instead of {version}"
        for name, version in there.items()
        if here.get(name) != version
    )


def _follow(stage: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """What the stage prints; wakes up now and then, since an interrupt does not end a read."""
    assert stage.stdout is not None
    output = stage.stdout.fileno()
    while True:
        if select.select([output], [], [], CHECK_SECONDS)[0]:
            chunk = os.read(output, CHUNK_BYTES)
            if not chunk:
                return
            yield chunk


def _stop(stage: "subprocess.Popen[bytes]") -> None:
    if stage.poll() is None:
        stage.terminate()
        try:
            stage.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            stage.kill()


def _death_wish() -> Callable[[], object] | None:
    """Has the kernel kill a new process when its parent dies: the stage is run again, and must not be written twice."""
    if sys.platform != "linux":
        return None
    # Looked up here: little may be done between fork and exec.
    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """The names of the GPUs that the worker may use."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen:
        command.append(f"--id={chosen}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []
