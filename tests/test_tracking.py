"""MLflow logging: contents and status of a run; failures of MLflow do not stop training."""

from pathlib import Path

import pytest

from sdaug.common.tracking import flatten, track


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
