"""`sdaug-shell -c COMMAND`: the `$SHELL` that `sdaug grid` gives to DVC; it hands stages to the server of `warm.py`.

It starts in a few hundredths of a second, so it imports nothing that it does not need.
"""

import json
import os
import re
import socket
import sys
from pathlib import Path

SOCKET = "SDAUG_WARM_SOCKET"
DECLINED = "declined\n"
STAGE = re.compile(r"python (stages/\w+\.py(?: [\w@%+=:,./-]+)*)", re.ASCII)


def main() -> None:
    """Run the command, in the server if that is there and knows the stage."""
    command, address = sys.argv[-1], os.environ.get(SOCKET)
    words = stage_words(command)
    if words and address:
        with socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(address)
            except OSError:
                pass
            else:
                status = hand_over(server, words)
                if status is not None:
                    sys.exit(status)
    os.execv("/bin/sh", ["sh", "-c", command])


def stage_words(command: str) -> list[str]:
    """The script and its arguments; nothing if the command is more than `python stages/NAME.py` and plain words."""
    match = STAGE.fullmatch(" ".join(command.split()))
    return match[1].split() if match else []


def hand_over(server: socket.socket, words: list[str]) -> int | None:
    """Have the server run a stage with our folder, environment and outputs; its exit status, or none if it declines."""
    request = {"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    socket.send_fds(server, [b"\0"], [1, 2])
    server.sendall(json.dumps(request).encode() + b"\n")
    with server.makefile() as answers:
        answer = answers.readline()
    if answer == DECLINED:
        return None
    if not answer:
        print(f"error: {words[0]}: its process has gone, maybe for want of memory", file=sys.stderr)
        return 1
    status = int(answer)
    return status if status >= 0 else 128 - status  # as shells tell a signal
