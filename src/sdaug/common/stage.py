"""Running a stage, and saying in one line what the user, the disk or the machine did wrong."""

import errno
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, over a quota, over the largest size of a file
LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def run_stage(function: Callable[[], None]) -> None:
    """Run a stage; an error that the user can mend becomes one line on stderr, bugs keep their traceback.

    The exit status is 1, or that of shells after SIGINT and SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminate)  # so that MLflow's run ends as failed, as after Ctrl-C
    try:
        function()
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from what is finished", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        sys.exit(f"error: {escape(message)}")


def explain(error: Exception) -> str | None:
    """What to tell the user about an error; None for a bug, which needs its traceback."""
    number = _error_number(error)
    name = getattr(error, "filename", None)
    where = f"{name}: " if name else ""
    if number in FULL:
        free = shutil.disk_usage(Path.cwd()).free / 1e6
        return (
            f"{where}the disk is full, or a quota is ({free:.0f} MB are free in {Path.cwd().name}); make room, for "
            "instance with `dvc gc --workspace`, and run again: nothing that is finished is lost"
        )
    if number in LOCKED:
        return f"{where}{_reason(error)}; make it readable and writable for you, and run again"
    if isinstance(error, FileNotFoundError) and name:
        return f"{name}: not found; if it was deleted, `dvc checkout` or `dvc repro` brings back what the study makes"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; torch takes seconds to import
        return (
            "the GPU has too little memory; lower the batch_size of this step (for DreamBooth, raise "
            "gradient_accumulation_steps as much, or turn on gradient_checkpointing), and run again"
        )
    if isinstance(error, MemoryError):
        return f"too little memory{f' ({error})' if str(error) else ''}; close other programs, or lower JOBS"
    return str(error) if isinstance(error, ValueError | OSError) else None


def escape(message: str) -> str:
    """A message on one line; control characters, which come from file names and labels, cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in message)


def _error_number(error: BaseException) -> int | None:
    """The system's number of an error, or of the one behind it: torch and safetensors wrap what a full disk raises."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno if cause is error or cause.errno in FULL else None
        in_text = re.search(r"(?:os error |\[Errno )(\d+)", str(cause))  # of safetensors; of shutil.copytree
        if in_text:
            return int(in_text[1])
        cause = cause.__cause__ or cause.__context__
    return None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _terminate(*_: object) -> NoReturn:
    sys.exit(TERMINATED)
