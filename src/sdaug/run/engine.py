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
from pathlib import Path
from typing import Any, Protocol

from sdaug.run.hand_over import answer, receive
from sdaug.run.needs import Needs
from sdaug.run.shell import DECLINED, SOCKET
from sdaug.run.worker import Task, Worker, compare_versions, list_versions

ATTEMPTS = 3
RECORD = Path(".work/workers.jsonl")
# What changes how a stage computes, or where it logs to. Tokens and passwords are not sent: workers have their own.
SENT = ("CUBLAS_", "DVC_", "GOMP_", "HF_", "MKL_", "MLFLOW_", "OMP_", "PYTHONPATH", "PYTORCH_", "SDAUG_", "TORCH")
SECRET = ("KEY", "PASSWORD", "SECRET", "TOKEN", "USERNAME")


class LostWorkerError(Exception):
    """A worker died in the middle of a stage, which can be run again."""


class Attempt(Protocol):
    """A stage that was given to an engine."""

    def events(self) -> Iterator[Worker | bytes | int]:
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
    engine: Engine, needs: Mapping[str, Needs], *, same_versions: bool = False
) -> Iterator[dict[str, str]]:
    """The environment variables that make DVC hand the stages in `needs`, by name, to an engine."""
    shell = Path(sys.executable).with_name("sdaug-shell")
    if not shell.is_file():
        raise ValueError(f"{shell}: missing; install the package again, with its commands")
    with tempfile.TemporaryDirectory(prefix="sdaug-") as folder:
        runner = _Runner(engine, needs, list_versions(), same_versions=same_versions)
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

    def __init__(
        self, engine: Engine, needs: Mapping[str, Needs], versions: Mapping[str, str], *, same_versions: bool
    ) -> None:
        self.engine, self.needs, self.versions, self.same_versions = engine, needs, versions, same_versions
        self.told, self.lock, self.stopping = set[str](), threading.Lock(), threading.Event()

    def stop(self) -> None:
        """Stop all stages."""
        self.stopping.set()

    def run(self, request: Mapping[str, Any], is_gone: Callable[[float], bool], say: Callable[[bytes], None]) -> int:
        """Run a stage, again if its worker dies; its exit status.

        `is_gone(seconds)` waits so long at most for the caller to leave.
        """
        name = Path(request["words"][0]).stem
        needs = self.needs[name]
        task = Task(
            words=tuple(request["words"]),
            folder=request["folder"],
            environment=select_variables(request["environment"]) | {"OMP_NUM_THREADS": str(needs.cores)},
            has_gpu=needs.gpu_share > 0,
            versions=self.versions if self.same_versions else None,
        )
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
        for event in attempt.events():
            if isinstance(event, dict):
                self._record(task, event)
            elif isinstance(event, bytes):
                say(event)
            else:
                return event if event >= 0 else 128 - event  # as shells report a signal
        raise LostWorkerError("it said nothing of how the stage ended")

    def _record(self, task: Task, worker: Worker) -> None:
        """Keep where the stage ran, and tell once of each machine whose libraries are others."""
        with self.lock:
            path = Path(task.folder) / RECORD
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"stage": " ".join(task.words), **worker}) + "\n")
            others = compare_versions(worker["versions"], self.versions)
            if others and worker["host"] not in self.told:
                self.told.add(worker["host"])
                print(
                    f"{worker['host']}: {others}; numbers may differ in their last digits", file=sys.stderr, flush=True
                )


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
            answer(self.request, f"{status}\n")
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
