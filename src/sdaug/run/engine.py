"""Stages on other machines: DVC keeps the graph and its locks here, and hands the work of a stage to an engine.

DVC runs a stage as `$SHELL -c COMMAND`. The shell (sdaug.run.shell) passes the stage to the server here, which has it
run by an engine, such as Ray, and gives its output and exit status back.
"""

import contextlib
import json
import os
import select
import socket
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from sdaug.run.hand_over import answer, receive
from sdaug.run.machines import Machines
from sdaug.run.needs import Needs
from sdaug.run.parcels import Parcels
from sdaug.run.shell import DECLINED, SOCKET
from sdaug.run.worker import Event, Task, Worker
from sdaug.synthesize.shards import Shard

ATTEMPTS = 3
RECORD = Path(".work/workers.jsonl")
# What changes how a stage computes, or where it logs to. Tokens and passwords are not sent: workers have their own.
SENT = ("CUBLAS_", "DVC_", "GOMP_", "HF_", "MKL_", "MLFLOW_", "OMP_", "PYTHONPATH", "PYTORCH_", "SDAUG_", "TORCH")
SECRET = ("KEY", "PASSWORD", "SECRET", "TOKEN", "USERNAME")


class LostWorkerError(Exception):
    """A worker died in the middle of a stage, which can be run again."""


class Attempt(Protocol):
    """A stage that was given to an engine."""

    def events(self) -> Iterator[Event]:
        """What `sdaug.run.worker.run_task` yields, as it comes.

        Raises:
            LostWorkerError: the worker died.
            ValueError: the worker cannot run the stage.
        """

    def cancel(self) -> None:
        """Stop it, from another thread; `events` then ends."""


class Engine(Protocol):
    """Runs stages somewhere."""

    def submit(self, task: Task, needs: Needs) -> Attempt:
        """Give a stage to the engine, which starts it as soon as there is room."""


@contextlib.contextmanager
def serve_engine(
    engine: Engine,
    needs: Mapping[str, Needs],
    *,
    same_versions: bool = False,
    same_hardware: bool = False,
    parcels: Parcels | None = None,
) -> Iterator[dict[str, str]]:
    """The environment variables that make DVC hand the stages in `needs`, by name, to an engine.

    With `parcels`, workers do not see the study's folder.
    """
    shell = Path(sys.executable).with_name("sdaug-shell")
    if not shell.is_file():
        raise ValueError(f"{shell}: missing; install the package again, with its commands")
    with tempfile.TemporaryDirectory(prefix="sdaug-") as folder:
        runner = _Runner(engine, needs, Machines(same_versions=same_versions, same_hardware=same_hardware), parcels)
        with _Server(f"{folder}/stages", runner) as server:
            thread = threading.Thread(target=server.serve_forever, name="engine")
            thread.start()
            try:
                yield {"SHELL": str(shell), SOCKET: server.address}
            finally:
                server.shutdown()
                runner.stop()
                thread.join()


class _Runner:
    """Runs one stage after another for the server, each in a thread of the server."""

    def __init__(self, engine: Engine, needs: Mapping[str, Needs], machines: Machines, parcels: Parcels | None) -> None:
        self.engine, self.needs, self.machines, self.parcels = engine, needs, machines, parcels
        self.lock, self.stopping = threading.Lock(), threading.Event()

    def stop(self) -> None:
        """Stop all stages."""
        self.stopping.set()

    def run(
        self, request: Mapping[str, Any], is_gone: Callable[[float], bool], say: Callable[[bytes], None]
    ) -> int | None:
        """Run a stage; its exit status, or None if it is left to do here, since its shards are drawn.

        `is_gone(seconds)` waits so long at most for the caller to leave.
        """
        total = self.needs[Path(request["words"][0]).stem].shards
        if total == 1:
            return self._run(request, None, is_gone, say)
        shards = [Shard(number=number, total=total) for number in range(1, total + 1)]

        def draw(shard: Shard) -> int:
            def say_shard(text: bytes) -> None:
                say(b"".join(f"shard {shard}: ".encode() + line for line in text.splitlines(keepends=True)))

            return self._run(request, shard, is_gone, say_shard)

        with ThreadPoolExecutor(total) as pool:
            return max(pool.map(draw, shards)) or None

    def _task(self, request: Mapping[str, Any], shard: Shard | None, needs: Needs) -> Task:
        """What a worker is told."""
        words, environment = request["words"], request["environment"]
        part = shard.folder(Path(words[words.index("--out") + 1])).as_posix() if shard else None
        return Task(
            words=(*words, *(["--shard", str(shard)] if shard else [])),
            folder=request["folder"],
            environment=select_variables(environment) | {"OMP_NUM_THREADS": str(needs.cores)},
            has_gpu=needs.gpu_share > 0,
            versions=self.machines.versions if self.machines.same_versions else None,
            parcel=self.parcels.pack(environment["DVC_STAGE"], part) if self.parcels else None,
        )

    def _run(
        self,
        request: Mapping[str, Any],
        shard: Shard | None,
        is_gone: Callable[[float], bool],
        say: Callable[[bytes], None],
    ) -> int:
        """Run a stage or a shard of one, again if its worker dies; its exit status."""
        name = Path(request["words"][0]).stem
        needs = self.needs[name]
        try:
            task = self._task(request, shard, needs)
        except ValueError as error:
            say(f"error: {name}: {error}\n".encode())
            return 1
        for number in range(1, ATTEMPTS + 1):
            attempt, done = self.engine.submit(task, needs), threading.Event()
            watcher = threading.Thread(target=self._watch, args=(attempt, is_gone, done))
            watcher.start()
            try:
                return self._follow(attempt, task, say)
            except LostWorkerError as error:
                if self.stopping.is_set() or is_gone(0):
                    return 1
                more = f"run again, {number + 1} of {ATTEMPTS}" if number < ATTEMPTS else "given up"
                say(f"{name}: its worker died ({error}); {more}\n".encode())
            except ValueError as error:
                attempt.cancel()  # if it was refused from here
                say(f"error: {name}: {error}\n".encode())
                return 1
            finally:
                done.set()
                watcher.join()
        return 1

    def _watch(self, attempt: Attempt, is_gone: Callable[[float], bool], done: threading.Event) -> None:
        while not done.is_set():
            if self.stopping.is_set() or is_gone(0.2):
                attempt.cancel()
                return

    def _follow(self, attempt: Attempt, task: Task, say: Callable[[bytes], None]) -> int:
        said = b""  # of a line: others may say something before it ends
        try:
            with tempfile.NamedTemporaryFile(prefix="sdaug-") as archive:
                for event in attempt.events():
                    if isinstance(event, dict):
                        self._record(task, event)
                    elif isinstance(event, bytes):
                        lines, end, said = (said + event).rpartition(b"\n")
                        say(lines + end)
                    elif isinstance(event, tuple):
                        archive.write(event[1])
                    else:
                        if event == 0 and task.parcel and self.parcels:
                            archive.flush()
                            self.parcels.receive(task.parcel, Path(archive.name))
                        return event if event >= 0 else 128 - event  # as shells report a signal
        finally:
            say(said)
        raise LostWorkerError("it said nothing of how the stage ended")

    def _record(self, task: Task, worker: Worker) -> None:
        """Keep where the stage ran; what is unlike there is told once of each machine, or refused."""
        with self.lock:
            path = Path(task.folder) / RECORD
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"stage": " ".join(task.words), **worker}) + "\n")
            self.machines.check(worker)


class _Server(socketserver.ThreadingUnixStreamServer):
    """Listens for stages that DVC hands over; ends when all of them have ended."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, address: str, runner: _Runner) -> None:
        self.address, self.runner = address, runner
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    """One stage."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        request, outputs = receive(self.request)
        try:
            if request is None or Path(request["words"][0]).stem not in self.server.runner.needs:
                answer(self.request, DECLINED)
                return
            status = self.server.runner.run(request, self._is_gone, lambda text: _write(outputs[0], text))
            answer(self.request, DECLINED if status is None else f"{status}\n")
        finally:
            for output in outputs:
                os.close(output)

    def _is_gone(self, seconds: float) -> bool:
        """Whether the caller has left; it sends nothing more, so there is something to read at its end alone."""
        return bool(select.select([self.request], [], [], seconds)[0])


def select_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a stage takes along to another machine."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(SENT) and name != SOCKET and not any(word in name for word in SECRET)
    }


def _write(output: int, text: bytes) -> None:
    with contextlib.suppress(OSError):  # the caller has left
        while text:
            text = text[os.write(output, text) :]
