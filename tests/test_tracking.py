"""MLflow logging: contents and status of a run; failures of MLflow do not stop training."""

import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sdaug.common import tracking
from sdaug.common.tracking import flatten, tell_missed, track


def test_runs_are_logged_and_a_failing_one_ends_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'log.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SDAUG_MLFLOW", raising=False)
    for key, value in {"MLFLOW_TRACKING_URI": uri, "DVC_ROOT": str(tmp_path), "DVC_STAGE": "train@a"}.items():
        monkeypatch.setenv(key, value)
    (tmp_path / "data.txt").write_text("x")
    with track({"a": {"b": 3}}, {"data": tmp_path / "data.txt"}, part="seed 2") as log:
        log.metrics(2, {"loss": 0.5})
    with pytest.raises(RuntimeError, match="boom"), track({}, {}):
        raise RuntimeError("boom")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("sdaug").experiment_id
    failed, run = client.search_runs([experiment], order_by=["start_time DESC"])
    assert (run.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert (run.info.run_name, run.data.params, run.data.metrics) == ("train@a seed 2", {"a.b": "3"}, {"loss": 0.5})
    assert run.data.tags["dvc.stage"] == "train@a" and run.data.tags["data.data.md5"]


def test_broken_address_warns_and_the_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SDAUG_MLFLOW", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with track({}, {}) as log:
        log.metrics(1, {"loss": 0.5})
    assert "WARNING: MLflow failed" in capsys.readouterr().err


def test_off_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDAUG_MLFLOW", "off")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with track({"a": 1}, {}) as log:
        log.metrics(1, {"loss": 0.5})
    assert not list(tmp_path.iterdir())


def test_nested_knobs_are_joined_by_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [1]}) == {"a.b.c": 1, "a.d": {}, "e": [1]}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a fresh database; logging is on."""
    uri = f"sqlite:///{tmp_path / 'log.db'}"
    monkeypatch.delenv("SDAUG_MLFLOW", raising=False)
    for key, value in {"MLFLOW_TRACKING_URI": uri, "DVC_ROOT": str(tmp_path), "DVC_STAGE": "train@a-b"}.items():
        monkeypatch.setenv(key, value)
    return uri


def all_runs(uri: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return list(client.search_runs([client.get_experiment_by_name("sdaug").experiment_id]))


TRAIN = """
import sys
from sdaug.common.tracking import track
with track({"seed": sys.argv[1]}, {}, part=f"seed {sys.argv[1]}") as log:
    for step in range(20):
        log.metrics(step, {"loss": 1.0 / (step + 1)})
    log.history([{"epoch": 1, "loss": float(sys.argv[1])}])
"""


def test_eight_trainings_that_start_at_once_on_a_fresh_database_are_all_whole(server: str) -> None:
    words = [sys.executable, "-c", TRAIN]
    trainings = [subprocess.Popen([*words, str(n)], stderr=subprocess.PIPE, text=True) for n in range(8)]
    assert [training.communicate()[1] for training in trainings if training.wait()] == []
    runs = all_runs(server)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(run.data.params["seed"] for run in runs) == [str(n) for n in range(8)]
    assert all(run.data.metrics == {"loss": 1.0 / 20} for run in runs) and len(runs) == 8


def test_a_database_that_is_locked_is_given_up_and_the_run_is_remembered(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with track({}, {}):
        pass
    with sqlite3.connect(tmp_path / "log.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with track({"a": 1}, {}, part="seed 3") as log:
            log.metrics(1, {"loss": 0.5})
        other.execute("ROLLBACK")
    assert "WARNING: MLflow failed, and the run goes on without it" in capsys.readouterr().err
    tell_missed()
    said = capsys.readouterr().err
    assert "MLflow lacks 1 run(s)" in said and "sdaug mlflow-sync" in said and "train@a-b seed 3" in said
    with track({"a": 1}, {}, part="seed 4"):
        pass
    assert next(run.info.run_name for run in all_runs(server)) == "train@a-b seed 4"


class Hangs(BaseHTTPRequestHandler):
    """A server that accepts and never answers."""

    def do_GET(self) -> None:
        time.sleep(30)

    do_POST = do_GET


def test_a_server_that_hangs_costs_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Hangs)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.delenv("SDAUG_MLFLOW", raising=False)
    for key, value in {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{http.server_port}",
        "DVC_ROOT": str(tmp_path),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }.items():
        monkeypatch.setenv(key, value)
    begin = time.monotonic()
    with track({}, {}) as log:
        log.metrics(1, {"loss": 0.5})
    http.shutdown()
    assert time.monotonic() - begin < 20 and "MLflow failed" in capsys.readouterr().err


@pytest.mark.usefixtures("server")
def test_a_slow_server_is_given_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with track({}, {}) as log:
        monkeypatch.setattr(tracking.time, "monotonic", lambda: now[0])
        log._begin = 0.0
        log._try(lambda _: now.__setitem__(0, now[0] + 29.0))
        assert log.is_on
        now[0] = 1000.0
        log._try(lambda _: now.__setitem__(0, now[0] + 20.0))
        assert log.is_on, "49 of 1020 seconds is a small share"
        log._try(lambda _: now.__setitem__(0, now[0] + 500.0))
        assert not log.is_on
    assert "too slow" in capsys.readouterr().err
