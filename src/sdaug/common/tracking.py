"""MLflow logging: one run per training run, tagged with the DVC stage, the Git revision and the data.

DVC is the source of truth, so an MLflow failure prints a warning and never stops a training run.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL.Image import Image

DATABASE, ARTIFACTS, EXPERIMENT = "mlflow.db", "mlartifacts", "sdaug"


class Log:
    """One MLflow run; does nothing when logging is off or MLflow has failed."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

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

    def finish(self, status: str) -> None:
        self._try(lambda client: client.set_terminated(self._run_id, status))

    def _try(self, call: Any) -> None:
        if self._client is None:
            return
        try:
            call(self._client)
        except Exception as error:  # noqa: BLE001 - training continues whatever MLflow raises
            _warn(error)
            self._client = None  # no further attempts


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


def _open(params: Mapping[str, Any], data: Mapping[str, Path], part: str) -> Log:
    if os.environ.get("SDAUG_MLFLOW") == "off":
        return Log(None, "")
    try:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no usage data to third parties
        # Imported here: MLflow takes 2.4 s, which a stage without logging saves (LOG.md, 2026-11-23).
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        # DVC sets DVC_ROOT, which for an experiment in a temporary folder is the study itself.
        root = Path(os.environ.get("DVC_ROOT", "."))
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        with _locked(root):
            client = MlflowClient(tracking_uri=uri or f"sqlite:///{(root / DATABASE).resolve()}")
            experiment = _experiment(client, None if uri else root / ARTIFACTS)
            name = os.environ.get("DVC_STAGE", "by hand")
            run = client.create_run(experiment, run_name=f"{name} {part}".strip())
        # Parameters and tags in one request.
        tags = [RunTag(key, value) for key, value in _tags(name, params, data).items()]
        flat = [Param(key, str(value)[:500]) for key, value in flatten(params).items()]
        client.log_batch(run.info.run_id, params=flat, tags=tags)
        return Log(client, run.info.run_id)
    except Exception as error:  # noqa: BLE001 - see the module's docstring
        _warn(error)
        return Log(None, "")


def _experiment(client: Any, artifacts: Path | None) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    # A tracking server chooses its own place for artifacts.
    location = artifacts.resolve().as_uri() if artifacts else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """A file lock: processes that initialise a new database at the same time make each other fail."""
    path = root / ".work" / "mlflow.lock"
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


def _warn(error: Exception) -> None:
    print(f"WARNING: MLflow failed; this run is not logged: {error!r}", file=sys.stderr, flush=True)
