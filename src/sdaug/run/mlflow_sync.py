"""`sdaug mlflow-sync`: brings an MLflow server what it missed, from the histories that the study keeps on disk."""

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdaug.base.params import BaseParams
from sdaug.common.files import read_csv, read_json
from sdaug.common.params import ConceptParams, SplitParams, read_arm, read_seeds
from sdaug.common.sections import read_params, read_section
from sdaug.common.tracking import HISTORY_TAG, connect, forget_missed, start_run
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.train.params import SCTL, ArmTraining, TrainParams, read_recipe, read_sctl

METRICS = Path("metrics")
BATCH = 500  # metrics per request; a server takes up to 1000
IMPORTED_TAG = "imported"


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run as the study has it on disk."""

    stage: str
    part: str
    history: Path
    params: Mapping[str, Any]
    best_epoch: int = 0
    best: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.stage} {self.part}".strip()


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What an import came to, as names of runs."""

    imported: list[str]
    present: list[str]
    outdated: list[str]


def sync_mlflow(params_path: Path, root: Path, changed: Mapping[str, object]) -> Synced:
    """Log every run on disk that the MLflow server does not have whole; stages in `changed` are passed over.

    Raises:
        ValueError: the server cannot be reached, or a history is damaged.
    """
    try:
        client, experiment = connect()
        synced = Synced(imported=[], present=[], outdated=[])
        for run in past_runs(params_path, root):
            digest = hashlib.md5(run.history.read_bytes(), usedforsecurity=False).hexdigest()
            if run.stage in changed:
                synced.outdated.append(run.name)
            elif _has(client, experiment, run, digest):
                synced.present.append(run.name)
            else:
                _log(client, experiment, run, digest)
                synced.imported.append(run.name)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"mlflow-sync: MLflow failed ({' '.join(str(error).split())[:300]}); is it up?") from error
    forget_missed()
    return synced


def past_runs(params_path: Path, root: Path) -> Iterator[PastRun]:
    """The runs whose histories are there, with the parameters that their stages log."""
    metrics, params = root / METRICS, read_params(params_path)
    split = asdict(read_section(params_path, "split", SplitParams))
    if (metrics / "base.csv").is_file():
        base = asdict(read_section(params_path, "base", BaseParams))
        yield PastRun(stage="base", part="", history=metrics / "base.csv", params={"base": base, "split": split})
    dreambooth = asdict(read_section(params_path, "dreambooth", DreamBoothParams))
    for label in params["concepts"]:
        concept = asdict(read_section(params_path, f"concepts.{label}", ConceptParams))
        for draw in read_section(params_path, "generator_seeds", list[int]):
            path = metrics / "dreambooth" / label / f"{draw}.csv"
            if path.is_file():
                knobs = {"dreambooth": dreambooth, "concept": concept, "split": split, "draw": draw}
                yield PastRun(stage=f"dreambooth@{label}", part=f"draw {draw}", history=path, params=knobs)
    train = asdict(read_section(params_path, "train", TrainParams))
    for model in params["classifiers"]:
        sctl = read_sctl(params_path, model)
        own: dict[str, Any] = {SCTL: asdict(sctl)} if sctl else {}
        for dataset in params["datasets"]:
            name = f"{model}-{dataset}"
            recipe = asdict(read_recipe(params_path, model, dataset))
            arm = asdict(read_arm(params_path, dataset, "training", ArmTraining))
            for seed in read_seeds(params_path, model):
                path = metrics / "history" / name / f"{seed}.csv"
                if path.is_file():
                    found = read_json(metrics / "train" / name / f"{seed}.json")
                    run = {key: found[key] for key in ("model", "dataset", "seed", "draw")}
                    yield PastRun(
                        stage=f"train@{name}",
                        part=f"seed {seed}",
                        history=path,
                        params={**run, "recipe": recipe, "arm": arm, "train": train, **own},
                        best_epoch=found["best_epoch"],
                        best={f"best_{key}": value for key, value in found.items() if key.startswith("validation_")},
                    )


def _has(client: Any, experiment: str, run: PastRun, digest: str) -> bool:
    """Whether the server has all of a run, logged live or imported."""
    wanted = f"tags.\"{HISTORY_TAG}\" = '{digest}' and tags.\"dvc.stage\" = '{run.stage}' and status = 'FINISHED'"
    found = client.search_runs([experiment], filter_string=wanted)
    # Two seeds with equal histories are possible with a handful of steps.
    return any(other.info.run_name == run.name for other in found)


def _log(client: Any, experiment: str, run: PastRun, digest: str) -> None:
    from mlflow.entities import Metric

    run_id = start_run(client, experiment, run.name, run.params, {"dvc.stage": run.stage, IMPORTED_TAG: "true"})
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, step) for name, value, step in _points(run)]
    for begin in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[begin : begin + BATCH])
    client.set_tag(run_id, HISTORY_TAG, digest)
    client.set_terminated(run_id, "FINISHED")


def _points(run: PastRun) -> Iterator[tuple[str, float, int]]:
    """The values of a run as (metric, value, step); a history has a row per value, or a column per metric."""
    yield from ((name, value, run.best_epoch) for name, value in run.best.items())
    try:
        for row in read_csv(run.history):
            if "curve" in row:
                yield row["curve"], float(row["value"]), int(row["step"])
                continue
            (_, step), *values = row.items()
            for name, value in values:
                if value:
                    yield name, float(value), int(step)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{run.history}: damaged ({error}); `git checkout` or `dvc repro` brings it back") from error
