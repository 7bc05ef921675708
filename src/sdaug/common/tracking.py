"""MLflow logging: one run per training run, tagged with the DVC stage, the Git revision and the data.

DVC is the source of truth, so an MLflow failure prints a warning and never stops a training run; `sdaug mlflow-sync`
imports what was missed from the histories on disk.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL.Image import Image

from sdaug.common.files import csv_text

DATABASE, ARTIFACTS, EXPERIMENT = "mlflow.db", "mlartifacts", "sdaug"
WORK = Path(".work")
MISSED = WORK / "mlflow-missed.txt"
HISTORY_TAG = "history.md5"  # of the CSV file: by it `sdaug mlflow-sync` knows what a server has
# MLflow would wait for two minutes, and try seven times: a server that hangs would stop a training for a quarter hour.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
MAX_WAIT_SECONDS, MAX_WAIT_SHARE = 30.0, 0.2  # of a run's time, before a slow server is given up


class Log:
    """One MLflow run; does nothing when logging is off or MLflow has failed."""

    def __init__(self, client: Any, run_id: str, error: str = "") -> None:
        self._client, self._run_id = client, run_id
        self._begin, self._waited = time.monotonic(), 0.0
        self.error = error

    @property
    def is_on(self) -> bool:
        """Whether anything is logged."""
        return self._client is not None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log the metrics of one step in a single request."""
        if not self.is_on:
            return
        from mlflow.entities import Metric

        points = [Metric(name, float(value), _now_ms(), step) for name, value in values.items()]
        self._try(lambda client: client.log_batch(self._run_id, metrics=points))

    def picture(self, name: str, image: Image) -> None:
        """Log an image as the artifact `name`."""
        self._try(lambda client: client.log_image(self._run_id, image, artifact_file=name))

    def history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say that the run holds all rows of this history, as it is written to a CSV file."""
        digest = hashlib.md5(csv_text(rows).encode(), usedforsecurity=False).hexdigest()
        self._try(lambda client: client.set_tag(self._run_id, HISTORY_TAG, digest))

    def finish(self, status: str) -> None:
        self._try(lambda client: client.set_terminated(self._run_id, status))

    def _try(self, call: Any) -> None:
        if self._client is None:
            return
        begin = time.monotonic()
        try:
            call(self._client)
        except Exception as error:  # noqa: BLE001 - training continues whatever MLflow raises
            self._give_up(repr(error))
        now = time.monotonic()
        self._waited += now - begin
        if self._client and self._waited > max(MAX_WAIT_SECONDS, MAX_WAIT_SHARE * (now - self._begin)):
            self._give_up(f"it took {self._waited:.0f} of {now - self._begin:.0f} s, which is too slow")

    def _give_up(self, error: str) -> None:
        self.error, self._client = error, None  # no further attempts
        _warn(error)


@contextmanager
def track(params: Mapping[str, Any], data: Mapping[str, Path], *, part: str = "") -> Iterator[Log]:
    """Open a run named after the DVC stage, and `part` of it; it is marked as failed if the block raises."""
    log = _open(params, data, part)
    try:
        yield log
    except BaseException:  # Ctrl-C as well
        log.finish("FAILED")
        raise
    log.finish("FINISHED")
    if log.error:
        note_missed(f"{os.environ.get('DVC_STAGE', 'by hand')} {part}".strip(), log.error)


def note_missed(run: str, error: str) -> None:
    """Remember that MLflow lacks a run, for `tell_missed`."""
    with contextlib.suppress(OSError):
        path = _root() / MISSED
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{run}: {' '.join(error.split())[:300]}\n")


def tell_missed() -> None:
    """Say at the end of a study which runs MLflow lacks, and how to import them."""
    path = _root() / MISSED
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        said = f"MLflow lacks {len(lines)} run(s); when it works again: `sdaug mlflow-sync`. The last: {lines[-1]}"
        print(f"WARNING: {said}", file=sys.stderr, flush=True)


def forget_missed() -> None:
    """Nothing is missed any more."""
    (_root() / MISSED).unlink(missing_ok=True)


def _open(params: Mapping[str, Any], data: Mapping[str, Path], part: str) -> Log:
    if os.environ.get("SDAUG_MLFLOW") == "off":
        return Log(None, "")
    stage = os.environ.get("DVC_STAGE", "by hand")
    try:
        client, experiment = connect()
        run_id = start_run(client, experiment, f"{stage} {part}".strip(), params, _tags(stage, params, data))
        return Log(client, run_id)
    except Exception as error:  # noqa: BLE001 - see the module's docstring
        _warn(repr(error))
        return Log(None, "", repr(error))


def connect() -> tuple[Any, str]:
    """A client of `MLFLOW_TRACKING_URI`, or else of the database in the study's folder, and the experiment's id."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no usage data to third parties
    for key, value in PATIENCE.items():
        os.environ.setdefault(key, value)
    # Imported here: MLflow takes 2.4 s, which a stage without logging saves (docs/log-2026-11.md).
    from mlflow.tracking import MlflowClient

    root, uri = _root(), os.environ.get("MLFLOW_TRACKING_URI")
    with _locked(root):
        client = MlflowClient(tracking_uri=uri or f"sqlite:///{(root / DATABASE).resolve()}")
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return client, str(found.experiment_id)
        # A tracking server chooses its own place for artifacts.
        location = None if uri else (root / ARTIFACTS).resolve().as_uri()
        return client, str(client.create_experiment(EXPERIMENT, artifact_location=location))


def start_run(client: Any, experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Create a run with its parameters and tags; returns its id."""
    from mlflow.entities import Param, RunTag

    run_id = str(client.create_run(experiment, run_name=name).info.run_id)
    flat = [Param(key, str(value)[:500]) for key, value in flatten(params).items()]
    client.log_batch(run_id, params=flat, tags=[RunTag(key, value) for key, value in tags.items()])
    return run_id


def _root() -> Path:
    """The study's folder; DVC sets DVC_ROOT, which for an experiment in a temporary folder is the study itself."""
    return Path(os.environ.get("DVC_ROOT", "."))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """A file lock: processes that initialise a new database at the same time make each other fail."""
    path = root / WORK / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _tags(stage: str, params: Mapping[str, Any], data: Mapping[str, Path]) -> dict[str, str]:
    # Sorted, so that equal parameters have equal hashes in any order.
    text = repr(sorted(flatten(params).items()))
    tags = {
        "dvc.stage": stage,
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME", ""),
        "git.revision": _git("rev-parse", "HEAD"),
        "git.is_dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
        "params.md5": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
    }
    return tags | {f"data.{name}.md5": md5_of(path) for name, path in data.items()}


def md5_of(path: Path) -> str:
    """The MD5 hash of a file, or of the names and contents of all files in a folder."""
    digest = hashlib.md5(usedforsecurity=False)  # some builds of Python refuse MD5 for security
    # Sorted, because the order of `rglob` depends on the file system.
    files = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "md5").digest())
    return digest.hexdigest()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings flattened to one dictionary with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        # An empty mapping is kept as a value, or its key would vanish.
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _git(*words: str) -> str:
    result = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def _now_ms() -> int:
    return int(time.time() * 1000)


def _warn(error: str) -> None:
    said = f"WARNING: MLflow failed, and the run goes on without it: {error}"
    print(said, file=sys.stderr, flush=True)
