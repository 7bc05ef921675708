"""What runs on the machine of a worker: one stage, in a process of its own, with what it says as it says it.

Engines send this module to their workers, so it imports the standard library alone.
"""

import contextlib
import ctypes
import fcntl
import importlib.metadata
import io
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
PART_BYTES = 4 * 2**20
WORKER_DIR = "SDAUG_WORKER_DIR"  # names another folder than ~/.cache/sdaug
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What a worker needs that does not see the study's folder.

    An archive of code and small files, paths to pull from DVC's remote, and paths to send back.
    """

    archive: bytes
    pulled: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A stage to run: its script and arguments, the study's folder, and variables beside those of the worker.

    `versions` are those of the caller, which the worker's have to equal if they are given. With a parcel, the worker
    makes a folder of its own.
    """

    words: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    has_gpu: bool
    versions: Mapping[str, str] | None = None
    parcel: Parcel | None = None


class Worker(TypedDict):
    """Where a stage runs: what its numbers may depend on beside its inputs. A dictionary, which any worker can send."""

    host: str
    processor: str
    gpus: list[str]
    versions: dict[str, str]


# The worker, what the stage prints, parts of an archive of what it has made, and its exit status.
Event = Worker | bytes | tuple[str, bytes] | int


def run_task(task: Task) -> Iterator[Event]:
    """Yield the worker, then what the stage prints, then its exit status; a stage that is not waited for is stopped.

    With a parcel, an archive of what the stage has made comes before a status of success, in parts.

    Raises:
        ValueError: the study's folder is not here, or cannot be pulled, or libraries have other versions than those of
            the caller.
    """
    here = describe_worker(has_gpu=task.has_gpu)
    yield here
    host, versions = here["host"], here["versions"]
    others = compare_versions(versions, task.versions or versions)
    if others:
        raise ValueError(f"{host}: {others}; install the same, or leave out --same-versions")
    environment = {**os.environ, **task.environment}
    if not task.has_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # a worker without a GPU of its own sees those of others
    if task.parcel:
        with _own_folder(task.parcel, host) as folder:
            # The study's own code, and no log in a folder that is gone afterwards: the caller completes it.
            environment["PYTHONPATH"] = str(folder / "src")
            if not environment.get("MLFLOW_TRACKING_URI", "").startswith("http"):
                environment["SDAUG_MLFLOW"] = "off"
            status = yield from _run_stage(task, folder, environment)
            if status == 0:
                yield from _send_back(folder, task.parcel.outs)
            yield status
        return
    if not Path(task.folder, task.words[0]).is_file():
        way_out = "workers need the study's folder at the same path, or --pull"
        raise ValueError(f"{host}: {task.folder}: not here; {way_out}")
    yield (yield from _run_stage(task, Path(task.folder), environment))


def _run_stage(task: Task, folder: Path, environment: Mapping[str, str]) -> Generator[bytes, None, int]:
    """Yield what a stage prints; its exit status."""
    with subprocess.Popen(
        [sys.executable, *task.words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # The stage is run again elsewhere, and must not be written twice.
        preexec_fn=end_with_parent(signal.SIGKILL),
    ) as stage:
        try:
            yield from _follow(stage)
            return stage.wait()
        finally:
            _stop(stage)


@contextlib.contextmanager
def _own_folder(parcel: Parcel, host: str) -> Iterator[Path]:
    """A copy of the study with what a stage needs, on this machine and only until the block ends.

    What was pulled stays in a cache, from which later stages take it.
    """
    home = Path(os.environ.get(WORKER_DIR, Path.home() / ".cache" / "sdaug"))
    studies = home / "studies"
    studies.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(studies)
    with tempfile.TemporaryDirectory(dir=studies) as name:
        folder = Path(name)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with tarfile.open(fileobj=io.BytesIO(parcel.archive)) as archive:
                archive.extractall(folder, filter="data")
            config = f'[cache]\n    dir = {home / "cache"}\n    type = "reflink,hardlink,copy"\n'
            (folder / ".dvc" / "config.local").write_text(config, encoding="utf-8")
            if parcel.pulled:
                command = [sys.executable, "-m", "dvc", "pull", *parcel.pulled]
                environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "site")}
                done = subprocess.run(
                    command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
                )
                if done.returncode:
                    said = " ".join((done.stderr or done.stdout).split())
                    raise ValueError(f"{host}: dvc pull: {said}; the worker has to reach the default remote")
            yield folder


def _clear_abandoned(studies: Path) -> None:
    """Delete folders whose worker was killed: nobody holds their lock."""
    for folder in studies.iterdir():
        with contextlib.suppress(OSError), (folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def _send_back(folder: Path, outs: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield an archive of what the stage has made, in parts."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for out in outs:
                if (folder / out).exists():
                    archive.add(folder / out, out)
        stream.seek(0)
        while part := stream.read(PART_BYTES):
            yield "outs", part


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


def end_with_parent(number: signal.Signals) -> Callable[[], object] | None:
    """What has the kernel send a process a signal when its parent ends, on Linux: for `preexec_fn` of `subprocess`."""
    if sys.platform != "linux":
        return None
    # Looked up here: little may be done between fork and exec.
    return partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, int(number))


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
