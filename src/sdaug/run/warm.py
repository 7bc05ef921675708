"""Stages that start with their libraries imported: a server imports them once and forks for each stage.

Importing diffusers takes longer than many a stage works. DVC runs a command as `$SHELL -c COMMAND`, and `shell.py`
is such a shell. The server imports nothing of this package that a stage computes with, so each runs the source files
as they are when it starts.
"""

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sdaug.run.imports import imported_libraries
from sdaug.run.shell import DECLINED, SOCKET

LOG_BOOK = ("mlflow", "sqlalchemy")
# What MLflow imports when a run is opened, and torch when an optimizer first steps.
LATE = ("mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite", "torch._dynamo")
OWNER = 0  # stdin, which closes when whoever started the server is gone


@contextlib.contextmanager
def warm_starts(scripts: Sequence[Path], environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """What DVC's environment needs so that stages start warm; nothing where that cannot be.

    `scripts` are the stages whose libraries the server imports, when the first stage comes. `environment` is what the
    server has beside ours: for what a library reads only when it is loaded.
    """
    shell = Path(sys.executable).with_name("sdaug-shell")
    with contextlib.ExitStack() as stack:
        address = f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='sdaug-'))}/stages"
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        try:
            listener.bind(address)
        except OSError:  # the name of a socket holds about 100 bytes
            address = ""
        # Libraries of macOS do not survive a fork.
        if not address or not shell.is_file() or not is_ours("python") or sys.platform != "linux":
            yield {}
            return
        listener.listen()
        # Telemetry is nobody's business; switched off in the moment MLflow is imported.
        server = subprocess.Popen(
            [sys.executable, "-m", "sdaug.run.warm", str(listener.fileno()), *map(str, scripts)],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env=os.environ | environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )
        listener.close()
        try:
            yield {"SHELL": str(shell), SOCKET: address}
        finally:
            server.communicate()


def is_ours(command: str) -> bool:
    """Whether a command's Python is the one that runs now: another has other libraries."""
    found = shutil.which(command)
    return found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()


def import_libraries(scripts: Sequence[Path]) -> None:
    """Import whatever the scripts import somewhere, of other packages than ours; but no log book that is off."""
    for module, names in [*sorted(imported_libraries(scripts, Path("src"))), *((module, ()) for module in LATE)]:
        if module.startswith(LOG_BOOK) and os.environ.get("SDAUG_MLFLOW") == "off":
            continue
        with contextlib.suppress(Exception):  # whatever is wrong, a stage that needs it will say so
            importlib.__import__(module, fromlist=names)
    gc.collect()
    gc.freeze()  # else the first collection of each stage would copy all pages


def serve(listener: socket.socket, scripts: Sequence[Path]) -> None:
    """Run each stage that comes in a process of its own, until the owner has gone; decline other scripts."""
    running: list[tuple[BaseProcess, socket.socket]] = []
    is_warm = False
    while True:
        ready = wait([listener, OWNER, *(client for _, client in running), *(stage.sentinel for stage, _ in running)])
        for stage, client in [*running]:
            if stage.sentinel in ready:
                stage.join()
                _answer(client, f"{stage.exitcode}\n")
                running.remove((stage, client))
            elif client in ready or OWNER in ready:  # whoever asked has gone, since nothing more is ever sent
                stage.terminate()
        if OWNER in ready:
            return
        if listener in ready:
            client, _ = listener.accept()
            request, outputs = _receive(client)
            if request and Path(request["words"][0]) in scripts:
                if not is_warm:
                    import_libraries(scripts)
                    is_warm = True
                stage = multiprocessing.get_context("fork").Process(target=_run_stage, args=(request, outputs))
                stage.start()
                running.append((stage, client))
            else:
                _answer(client, DECLINED)
            for output in outputs:
                os.close(output)


def _receive(client: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """What `sdaug.run.shell` asks for, with its stdout and stderr; nothing if it has gone before it had asked."""
    _, outputs, _, _ = socket.recv_fds(client, 1, 2)
    with client.makefile() as requests:
        line = requests.readline()
    return (json.loads(line) if line else None), outputs


def _answer(client: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):  # it has gone
        client.sendall(line.encode())
    client.close()


def _run_stage(request: Mapping[str, Any], outputs: Sequence[int]) -> None:
    """In the new process: be what `python SCRIPT ARGUMENTS` would have been."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open() as nothing:
        for here, there in zip([nothing.fileno(), *outputs], range(3), strict=True):
            os.dup2(here, there)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = request["words"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stages, and for the owner
    descriptor, *scripts = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as listener:
        serve(listener, list(map(Path, scripts)))
    os._exit(0)  # libraries that are taken apart after `gc.freeze` complain of it


if __name__ == "__main__":
    main()
