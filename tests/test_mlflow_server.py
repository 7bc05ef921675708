"""A real MLflow server on loopback, on SQLite and PostgreSQL: what is logged arrives; to which names it answers."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from servers import free_port

from sdaug.common.tracking import track

NAME = "study.test"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
STARTUP_SECONDS = 240  # it imports all of MLflow twice


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that is told to answer to NAME and, with any port, to localhost."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--artifacts-destination", str(folder / "files"), "--allowed-hosts", f"{NAME},localhost:*"]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    database = postgresql() if request.param == "postgresql" else nullcontext(f"sqlite:///{folder / 'log.db'}")
    with database as uri, (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*words, "--backend-store-uri", uri], env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + STARTUP_SECONDS
            while not answers(port):
                assert server.poll() is None and time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.5)
            yield port
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait()


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server with an empty database; skips the tests where none is installed."""
    pytest.importorskip("psycopg")
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    programs, port = Path(found).resolve().parent, free_port()
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        data = Path(folder) / "data"

        def call(program: str, *words: str) -> None:
            subprocess.run([programs / program, "-D", data, *words], check=True, capture_output=True, user=user)

        call("initdb", "--auth", "trust", "--username", "study", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -k {folder}"
        call("pg_ctl", "--wait", "--timeout", str(STARTUP_SECONDS), "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql://study@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "--wait", "-m", "immediate", "stop")


def answers(port: int) -> bool:
    try:
        return status(port, "localhost", "/health") == http.client.OK
    except OSError:
        return False


def status(port: int, host: str, path: str = SEARCH) -> int:
    """The status of a request under a name of the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": host})
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_run_arrives(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"http://localhost:{port}"
    monkeypatch.delenv("SDAUG_MLFLOW", raising=False)
    for key, value in {"MLFLOW_TRACKING_URI": uri, "DVC_ROOT": str(tmp_path), "DVC_STAGE": "train@a"}.items():
        monkeypatch.setenv(key, value)
    with track({"a": 1}, {}, part="seed 0") as log:
        log.metrics(1, {"loss": 0.5})
        log.history([{"epoch": 1, "loss": 0.5}])
    client = MlflowClient(tracking_uri=uri)
    [run] = client.search_runs([client.get_experiment_by_name("sdaug").experiment_id])
    assert (run.info.status, run.data.params["a"], run.data.metrics["loss"]) == ("FINISHED", "1", 0.5)


def test_a_name_is_allowed_with_its_port_or_with_any(port: int) -> None:
    """As docs/dvc.md says: a name without a port is not the name that clients send."""
    names = (NAME, f"{NAME}:{port}", f"localhost:{port}", f"127.0.0.1:{port}", f"foreign.test:{port}")
    assert [status(port, name) for name in names] == [200, 403, 200, 403, 403]
