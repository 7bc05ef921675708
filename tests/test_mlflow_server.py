"""A real MLflow server on loopback: what is logged arrives, and which names of the server it answers to."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import free_port

from sdaug.common.tracking import track

NAME = "study.test"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
STARTUP_SECONDS = 240  # it imports all of MLflow twice


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that is told to answer to NAME and, with any port, to localhost."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder / 'log.db'}", "--artifacts-destination", str(folder / "files")]
    words += ["--allowed-hosts", f"{NAME},localhost:*"]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + STARTUP_SECONDS
        while not answers(port):
            assert server.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.5)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


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
