"""`sdaug-shell -c COMMAND`: the `$SHELL` that `sdaug grid` gives to DVC; it passes stages to the server in `warm.py`.

Every stage pays for its start, so it imports as little as possible and starts in a few hundredths of a second.
"""

import ctypes
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

SOCKET = "SDAUG_WARM_SOCKET"
PR_SET_PDEATHSIG = 1  # of prctl(2)
DECLINED = "declined\n"
# Plain words only: what a shell would expand, pipe or quote is left to a shell.
STAGE = re.compile(r"python (stages/\w+\.py(?: [\w@%+=:,./-]+)*)", re.ASCII)


def main() -> None:
    """Run the command in the server if there is one that knows the stage, otherwise in `/bin/sh`."""
    command, address = sys.argv[-1], os.environ.get(SOCKET)
    if sys.platform == "linux":
        # A stage ends with its DVC, which the kernel alone can tell of if that was killed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    words = stage_words(command)
    if words and address:
        with socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(address)
            except OSError:
                pass  # the server has ended
            else:
                status = hand_over(server, words)
                if status is not None:
                    sys.exit(status)
    os.execv("/bin/sh", ["sh", "-c", command])


def stage_words(command: str) -> list[str]:
    """The script and its arguments, or `[]` if the command is not just `python stages/NAME.py` and plain words."""
    # dvc.yaml folds long commands over several lines.
    match = STAGE.fullmatch(" ".join(command.split()))
    return match[1].split() if match else []


def hand_over(server: socket.socket, words: list[str]) -> int | None:
    """The exit status of a stage run by the server with our folder, environment and outputs; None if it declines."""
    request = {"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    socket.send_fds(server, [b"\0"], [1, 2])  # stdout and stderr; descriptors need at least a byte to travel with
    server.sendall(json.dumps(request).encode() + b"\n")
    with server.makefile() as answers:
        answer = answers.readline()
    if answer == DECLINED:
        return None
    if not answer:
        print(f"error: {words[0]}: its process died, perhaps out of memory", file=sys.stderr)
        return 1
    status = int(answer)
    return status if status >= 0 else 128 - status  # as shells report a signal
