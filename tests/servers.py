"""Servers of DVC remotes on loopback: SSH, WebDAV, S3, and HTTP that can be read only, or hangs, or dies."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

USER, PASSWORD = "anna", "secret-of-anna"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Server(NamedTuple):
    """A running server: the settings of its remote, and the folder in which it keeps objects, if there is one."""

    settings: dict[str, str]
    folder: Path | None
    keep: Callable[[str], bytes] | None = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


@contextmanager
def ssh_server(folder: Path) -> Iterator[dict[str, str]]:
    """OpenSSH, for the user that runs the tests, with a key of its own."""
    assert SSHD is not None
    port = free_port()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    lines = [f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host'}", "UsePAM no", "StrictModes no"]
    lines += [f"AuthorizedKeysFile {folder / 'authorized_keys'}", f"PidFile {folder / 'pid'}", "PermitRootLogin yes"]
    lines += ["PasswordAuthentication no", "Subsystem sftp internal-sftp"]
    (folder / "config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd separates privileges there
    (folder / "store").mkdir()
    words = [SSHD, "-D", "-e", "-f", str(folder / "config")]
    with subprocess.Popen(words, stderr=(folder / "log").open("w")) as process:
        try:
            wait_for(port)
            url = f"ssh://127.0.0.1:{port}{folder / 'store'}"
            user = getpass.getuser() if os.geteuid() else "root"
            yield {"url": url, "user": user, "keyfile": str(folder / "user"), "allow_agent": "false"}
        finally:
            process.terminate()


@contextmanager
def webdav_server(folder: Path) -> Iterator[dict[str, str]]:
    """WsgiDAV with a password."""
    from cheroot.wsgi import Server as WsgiServer
    from wsgidav.wsgidav_app import WsgiDAVApp

    port = free_port()
    (folder / "store").mkdir()
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = WsgiServer(("127.0.0.1", port), app)
    with in_thread(server.safe_start, server.stop):
        wait_for(port)
        yield {"url": f"webdav://127.0.0.1:{port}/store", "user": USER, "password": PASSWORD}


@contextmanager
def s3_server(_: Path) -> Iterator[dict[str, str]]:
    """Moto, which speaks the protocol of S3."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        keys = {"aws_access_key_id": USER, "aws_secret_access_key": PASSWORD, "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="study")
        settings = {"url": "s3://study/store", "endpointurl": endpoint, "region": "us-east-1"}
        yield settings | {"access_key_id": USER, "secret_access_key": PASSWORD}
    finally:
        server.stop()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and writes nothing to the terminal."""

    def log_message(self, *_: Any) -> None:
        pass


class Dying(Quiet):
    """Cuts every answer after its first bytes, once it has given `whole` answers."""

    whole = 0
    given = 0

    def do_GET(self) -> None:
        Dying.given += 1
        if Dying.given <= Dying.whole:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"half")
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


class Hanging(Quiet):
    """Takes requests and never answers."""

    def do_GET(self) -> None:
        time.sleep(60)

    do_HEAD = do_GET


@contextmanager
def http_server(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[dict[str, str]]:
    """Python's own, which only reads."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    with in_thread(server.serve_forever, server.shutdown):
        yield {"url": f"http://127.0.0.1:{server.server_port}"}
    server.server_close()


@contextmanager
def in_thread(work: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    Thread(target=work, daemon=True).start()
    try:
        yield
    finally:
        stop()
