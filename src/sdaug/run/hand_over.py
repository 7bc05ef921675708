"""The other end of `sdaug.run.shell`: what a server does with a stage that DVC hands over."""

import contextlib
import json
import socket
from typing import Any


def receive(client: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The request of `sdaug.run.shell` and its stdout and stderr; no request if the client has already exited."""
    _, outputs, _, _ = socket.recv_fds(client, 1, 2)
    with client.makefile() as requests:
        line = requests.readline()
    return (json.loads(line) if line else None), outputs


def answer(client: socket.socket, line: str) -> None:
    """Send the last line, an exit status or `DECLINED`, and hang up."""
    with contextlib.suppress(OSError):  # the client has exited
        client.sendall(line.encode())
    client.close()
