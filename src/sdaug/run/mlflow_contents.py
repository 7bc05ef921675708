"""What a run learned from and what it made, in MLflow: data sets and external models, by path and hash alone.

Both stay where DVC keeps them. A training cannot log them itself: DVC hashes its outputs when it has ended.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdaug.common.tracking import md5_of
from sdaug.records.lock_hashes import hashes_of, read_lock, tracked_path

LOCK = Path("dvc.lock")
WEIGHTS = "*.safetensors"
TRAINING, UNLABELLED = "training", "unlabelled"  # what a data set is for
MODEL_TAG = "folder.md5"  # by it a later import knows that a run has its model
NO_NAME = re.compile(r"[^\w-]+")  # MLflow refuses some of these in the name of a model


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The paths of a run in its study: data sets with what they are for, its model, and the model it started from."""

    data: Mapping[str, str]
    model: str
    base: str = ""


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file or folder with its hash: DVC's of `tracked`, which it is or is in, or our own if DVC has none."""

    path: str
    tracked: str
    md5: str
    is_from_dvc: bool


class Hashes:
    """The hashes of what a stage read and wrote."""

    def __init__(self, root: Path) -> None:
        self._root, self._stages = root, read_lock(root / LOCK)

    def find(self, stage: str, path: str) -> Content | None:
        """A file or folder as it was for the last run of a stage; None if DVC has no hash of it and it is not here."""
        known = hashes_of([self._stages.get(stage, {})])
        tracked = tracked_path(Path(path), known)
        if tracked:
            return Content(path=path, tracked=tracked, md5=known[tracked], is_from_dvc=True)
        if not (self._root / path).exists():
            return None
        return Content(path=path, tracked=path, md5=md5_of(self._root / path), is_from_dvc=False)


def log_contents(
    client: Any, run: Any, contents: Contents, hashes: Hashes, *, stage: str, step: int, root: Path
) -> bool:
    """Add to a run of MLflow what it lacks of its data sets and its model; returns whether it lacked anything."""
    data = [(found, use) for path, use in contents.data.items() if (found := hashes.find(stage, path))]
    has_new_data = _log_data(client, run, data)
    model = hashes.find(stage, contents.model)
    if model is None or _has_model(client, run, model):
        return has_new_data
    base = hashes.find(stage, contents.base) if contents.base else None
    _log_model(client, run, model, base, weights=_hash_weights(root / contents.model), step=step)
    return True


def _log_data(client: Any, run: Any, data: Sequence[tuple[Content, str]]) -> bool:
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    present = {(x.dataset.name, x.dataset.digest) for x in (run.inputs.dataset_inputs if run.inputs else [])}
    lacking = [
        DatasetInput(
            # The path is that in the study: an absolute one would tell whose machine it was.
            dataset=Dataset(
                name=found.path, digest=found.md5, source_type="local", source=json.dumps({"uri": found.path})
            ),
            tags=[InputTag(MLFLOW_DATASET_CONTEXT, use), InputTag("hash", _kind(found))],
        )
        for found, use in data
        if (found.path, found.md5) not in present
    ]
    if lacking:
        client.log_inputs(run.info.run_id, datasets=lacking)
    return bool(lacking)


def _has_model(client: Any, run: Any, model: Content) -> bool:
    ids = [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]
    return any(client.get_logged_model(one).tags.get(MODEL_TAG) == model.md5 for one in ids)


def _log_model(
    client: Any, run: Any, model: Content, base: Content | None, *, weights: Mapping[str, str], step: int
) -> None:
    """As `mlflow.create_external_model` does, which knows no client and thus would change the address for all."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

    started = {"base.path": base.path, "base.md5": base.md5} if base else {}
    created = client.create_logged_model(
        run.info.experiment_id,
        name=NO_NAME.sub("-", model.path),
        source_run_id=run.info.run_id,
        tags={MLFLOW_MODEL_IS_EXTERNAL: "true", MODEL_TAG: model.md5, "hash": _kind(model)},
        params={
            "path": model.path,
            "folder.path": model.tracked,
            "folder.md5": model.md5,
            **started,
            **{f"md5.{name}": digest for name, digest in weights.items()},
        },
        model_type=model.path.split("/")[1],
    )
    client.finalize_logged_model(created.model_id, "READY")
    client.log_outputs(run.info.run_id, [LoggedModelOutput(created.model_id, step=step)])


def _hash_weights(folder: Path) -> dict[str, str]:
    """The MD5 hash of each file of weights, as `md5sum` and DVC have it; of none if they were not pulled."""
    found = {}
    for path in sorted(folder.rglob(WEIGHTS)):
        with path.open("rb") as stream:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "md5").hexdigest()
    return found


def _kind(found: Content) -> str:
    return "of dvc.lock" if found.is_from_dvc else "of names and contents, since DVC has none"
