"""`sdaug mlflow-sync`: brings an MLflow server what it missed, from the histories that the study keeps on disk."""

import hashlib
import os
import sys
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
from sdaug.run.mlflow_contents import TRAINING, UNLABELLED, Contents, Hashes, log_contents
from sdaug.train.params import SCTL, ArmTraining, TrainParams, read_recipe, read_sctl

METRICS = Path("metrics")
# As dvc.yaml has them.
PREPARED, CLASS_IMAGES, PACKED, TEST_PHOTOS = "data/prepared", "data/class_images", "data/packed", "data/unlabelled"
BASE, GENERATORS, CLASSIFIERS = "models/base", "models/dreambooth", "models/classifiers"
BATCH = 500  # metrics per request; a server takes up to 1000
IMPORTED_TAG = "imported"


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run as the study has it on disk."""

    stage: str
    part: str
    history: Path
    params: Mapping[str, Any]
    contents: Contents
    best_epoch: int = 0
    best: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.stage} {self.part}".strip()


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What an import came to, as names of runs; `completed` are those that got data sets or a model."""

    imported: list[str]
    present: list[str]
    outdated: list[str]
    completed: list[str]


def sync_mlflow(params_path: Path, root: Path, changed: Mapping[str, object]) -> Synced:
    """Log every run on disk that the MLflow server does not have whole; stages in `changed` are passed over.

    Raises:
        ValueError: the server cannot be reached, or a history is damaged.
    """
    try:
        synced = _sync(params_path, root, changed)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"mlflow-sync: MLflow failed ({' '.join(str(error).split())[:300]}); is it up?") from error
    forget_missed()
    return synced


def complete_runs(params_path: Path, root: Path) -> None:
    """Give the runs that MLflow has their data sets and models, after a study that is up to date.

    A failure of MLflow is a warning, as during training.
    """
    if os.environ.get("SDAUG_MLFLOW") == "off":
        return
    try:
        _sync(params_path, root, {}, imports=False)
    except Exception as error:  # noqa: BLE001 - see above
        said = f"MLflow lacks data sets and models of runs ({' '.join(str(error).split())[:300]})"
        print(f"WARNING: {said}; when it works again: `sdaug mlflow-sync`", file=sys.stderr, flush=True)


def _sync(params_path: Path, root: Path, changed: Mapping[str, object], *, imports: bool = True) -> Synced:
    client, experiment = connect()
    synced = Synced(imported=[], present=[], outdated=[], completed=[])
    hashes = Hashes(root)
    for run in past_runs(params_path, root):
        digest = hashlib.md5(run.history.read_bytes(), usedforsecurity=False).hexdigest()
        if run.stage in changed:
            synced.outdated.append(run.name)
            continue
        run_id = _find(client, experiment, run, digest)
        (synced.present if run_id else synced.imported).append(run.name)
        if not run_id and not imports:
            continue
        run_id = run_id or _log(client, experiment, run, digest)
        found = client.get_run(run_id)
        if log_contents(client, found, run.contents, hashes, stage=run.stage, step=run.best_epoch, root=root):
            synced.completed.append(run.name)
    return synced


def past_runs(params_path: Path, root: Path) -> Iterator[PastRun]:
    """The runs whose histories are there, with the parameters that their stages log."""
    metrics, params = root / METRICS, read_params(params_path)
    split = asdict(read_section(params_path, "split", SplitParams))
    if (metrics / "base.csv").is_file():
        base = asdict(read_section(params_path, "base", BaseParams))
        yield PastRun(
            stage="base",
            part="",
            history=metrics / "base.csv",
            params={"base": base, "split": split},
            contents=Contents(data={PREPARED: TRAINING}, model=BASE),
        )
    dreambooth = asdict(read_section(params_path, "dreambooth", DreamBoothParams))
    seen = {PREPARED: TRAINING} | ({CLASS_IMAGES: TRAINING} if dreambooth["prior_preservation"] else {})
    for label in params["concepts"]:
        concept = asdict(read_section(params_path, f"concepts.{label}", ConceptParams))
        for draw in read_section(params_path, "generator_seeds", list[int]):
            path = metrics / "dreambooth" / label / f"{draw}.csv"
            if path.is_file():
                knobs = {"dreambooth": dreambooth, "concept": concept, "split": split, "draw": draw}
                yield PastRun(
                    stage=f"dreambooth@{label}",
                    part=f"draw {draw}",
                    history=path,
                    params=knobs,
                    contents=Contents(data=seen, model=f"{GENERATORS}/{label}/{draw}", base=BASE),
                )
    train = asdict(read_section(params_path, "train", TrainParams))
    for model in params["classifiers"]:
        sctl = read_sctl(params_path, model)
        own: dict[str, Any] = {SCTL: asdict(sctl)} if sctl else {}
        for dataset in params["datasets"]:
            name = f"{model}-{dataset}"
            recipe = asdict(read_recipe(params_path, model, dataset))
            arm = asdict(read_arm(params_path, dataset, "training", ArmTraining))
            data = {f"{PACKED}/{dataset}": TRAINING} | ({f"{TEST_PHOTOS}/{model}": UNLABELLED} if sctl else {})
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
                        contents=Contents(data=data, model=f"{CLASSIFIERS}/{name}/{seed}"),
                        best_epoch=found["best_epoch"],
                        best={f"best_{key}": value for key, value in found.items() if key.startswith("validation_")},
                    )


def _find(client: Any, experiment: str, run: PastRun, digest: str) -> str | None:
    """The id of a run that the server has all of, logged live or imported; the last one, or None."""
    wanted = f"tags.\"{HISTORY_TAG}\" = '{digest}' and tags.\"dvc.stage\" = '{run.stage}' and status = 'FINISHED'"
    found = client.search_runs([experiment], filter_string=wanted)
    # Two seeds with equal histories are possible with a handful of steps.
    return next((str(other.info.run_id) for other in found if other.info.run_name == run.name), None)


def _log(client: Any, experiment: str, run: PastRun, digest: str) -> str:
    from mlflow.entities import Metric

    run_id = start_run(client, experiment, run.name, run.params, {"dvc.stage": run.stage, IMPORTED_TAG: "true"})
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, step) for name, value, step in _points(run)]
    for begin in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[begin : begin + BATCH])
    client.set_tag(run_id, HISTORY_TAG, digest)
    client.set_terminated(run_id, "FINISHED")
    return run_id


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
