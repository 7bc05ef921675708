"""The server behind warm starts: it imports the libraries of all stages once and forks a process for each stage.

Importing diffusers takes longer than many stages run. DVC runs a command as `$SHELL -c COMMAND`, and `shell.py` is
such a shell. The server imports no code of this package that stages compute with, so every stage runs the source files
as they are when it starts.
"""

import contextlib
import gc
import importlib
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

from sdaug.run.hand_over import answer, receive
from sdaug.run.imports import imported_libraries
from sdaug.run.patience import add_patience
from sdaug.run.shell import DECLINED, SOCKET

LOG_BOOK = ("mlflow", "sqlalchemy")
# Imported late: by MLflow when it opens a run, by torch at the first optimizer step.
LATE = ("mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite", "torch._dynamo")
OWNER = 0  # stdin, which closes when the process that started the server exits


@contextlib.contextmanager
def warm_starts(scripts: Sequence[Path], environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment variables that make DVC start stages warm; empty where warm starts are not possible.

    `scripts` are the stages whose libraries the server imports when the first stage arrives. `environment` is added to
    the server's own environment, for variables that a library reads only when it is loaded.
    """
    shell = Path(sys.executable).with_name("sdaug-shell")
    with contextlib.ExitStack() as stack:
        address = f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='sdaug-'))}/stages"
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        try:
            listener.bind(address)
        except OSError:  # a socket's path is limited to about 100 bytes
            address = ""
        # System libraries of macOS do not survive a fork.
        if not address or not shell.is_file() or not is_ours("python") or sys.platform != "linux":
            yield {}
            return
        listener.listen()
        # The package of this checkout, as in stages/_source.py.
        paths = filter(None, [str(Path("src").resolve()), os.environ.get("PYTHONPATH")])
        environment = {**environment, "PYTHONPATH": os.pathsep.join(paths)}
        environment = {**os.environ, **environment}
        add_patience(environment)  # as in stages/_source.py: the server loads the libraries
        # No usage data to third parties; MLflow is imported here before any stage sets this variable.
        server = subprocess.Popen(
            [sys.executable, "-m", "sdaug.run.warm", str(listener.fileno()), *map(str, scripts)],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )
        listener.close()
        try:
            yield {"SHELL": str(shell), SOCKET: address}
        finally:
            server.communicate()


def is_ours(command: str) -> bool:
    """Whether a command resolves to the running Python installation; another one has other libraries."""
    found = shutil.which(command)
    return found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()


def import_libraries(scripts: Sequence[Path]) -> None:
    """Import every third-party library that the scripts use, but not MLflow's if logging is off."""
    for module, names in [*sorted(imported_libraries(scripts, Path("src"))), *((module, ()) for module in LATE)]:
        if module.startswith(LOG_BOOK) and os.environ.get("SDAUG_MLFLOW") == "off":
            continue
        with contextlib.suppress(Exception):  # a stage that needs the module reports the error
            importlib.__import__(module, fromlist=names)
    gc.collect()
    gc.freeze()  # or the first collection in each stage would copy all shared pages


def serve(listener: socket.socket, scripts: Sequence[Path]) -> None:
    """Run each requested stage in its own process until the owner exits; decline other scripts and folders."""
    running: list[tuple[BaseProcess, socket.socket]] = []
    is_warm = False
    while True:
        ready = wait([listener, OWNER, *(client for _, client in running), *(stage.sentinel for stage, _ in running)])
        for stage, client in [*running]:
            if stage.sentinel in ready:
                stage.join()
                answer(client, f"{stage.exitcode}\n")
                running.remove((stage, client))
            elif client in ready or OWNER in ready:  # the client sends nothing more, so it has exited
                stage.terminate()
        if OWNER in ready:
            return
        if listener in ready:
            client, _ = listener.accept()
            request, outputs = receive(client)
            # Another folder is the copy of a queued experiment, whose package may be another one.
            is_here = request is not None and Path(request["folder"]) == Path.cwd()
            if request and is_here and Path(request["words"][0]) in scripts:
                # Not before: where DVC finds every stage up to date, no library is needed.
                if not is_warm:
                    import_libraries(scripts)
                    is_warm = True
                stage = multiprocessing.get_context("fork").Process(target=_run_stage, args=(request, outputs))
                stage.start()
                running.append((stage, client))
            else:
                answer(client, DECLINED)
            # The stage has copies; left open here, its reader would never see their end.
            for output in outputs:
                os.close(output)


def _run_stage(request: Mapping[str, Any], outputs: Sequence[int]) -> None:
    """Run a stage in the forked process just as `python SCRIPT ARGUMENTS` would."""
    # The server ignores Ctrl-C, and a fork inherits that.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the stages and the owner
    descriptor, *scripts = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as listener:
        serve(listener, list(map(Path, scripts)))
    os._exit(0)  # some libraries print errors when torn down after `gc.freeze`


if __name__ == "__main__":
    main()
