"""`sdaug grid`: runs the study like `dvc repro`, with several stages at once.

DVC commands can run in parallel as long as each waits for the others' locks (`--wait-for-lock`). Stages start with
their libraries already imported, see sdaug.run.warm.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from sdaug.check.disk import read_sizes, require_space
from sdaug.check.graph_match import require_stages
from sdaug.check.study import check_study
from sdaug.common.files import read_json
from sdaug.common.params import MADE_DIRS
from sdaug.common.sections import read_params, read_section
from sdaug.run.chains import run_chains
from sdaug.run.lock_order import LOCK, locked_stages, sort_lock
from sdaug.run.mend import keep_lock, mend_files
from sdaug.run.mlflow_sync import complete_runs
from sdaug.run.needs import longest_first, training_photos
from sdaug.run.place import Place, open_place
from sdaug.run.warm import warm_starts
from sdaug.run.worker import end_with_parent

PARAMS, GRAPH = Path("params.yaml"), Path("dvc.yaml")
SIZES, PREPARED = Path("metrics/sizes.json"), Path("metrics/prepare.json")
JOBS_HERE = 2

# Where DVC puts the copies of queued experiments, and of those with `--temp`.
COPIES = (Path(".dvc/tmp/exps"), Path(".dvc/tmp/exps/standalone"))
DVC_OWN = ("celery", "run", "standalone")  # what DVC keeps there


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Stages that run first, with all their dependencies; then chains and single stages, several at once.

    A chain runs in order for each item of the matrix that its stages share. If it `uses_all_cores`, only one runs at a
    time on a machine without a GPU, where two at once took longer than one after the other.
    """

    first: tuple[str, ...]
    chain: tuple[str, ...]
    beside: tuple[str, ...] = ()
    uses_all_cores: bool = False

    def scripts(self) -> list[Path]:
        """The scripts of all stages of the phase."""
        return [Path("stages") / f"{stage}.py" for stage in (*self.first, *self.chain, *self.beside)]


# DreamBooth of score 4: 27 s with two spinning threads, 53 s with two that wait passively. Twelve training runs:
# 253 s one after another, 98 s two at a time from the server (python benchmarks/grid.py --trainings 12).
PHASES = (
    Phase(first=("audit", "base", "class_images"), chain=("dreambooth", "synthesize"), uses_all_cores=True),
    Phase(first=("audit_images", "split", "holdout", "unlabelled"), chain=("train", "evaluate"), beside=("fidelity",)),
)


def run_grid(num_jobs: int | None = None, jobs_per_gpu: int = 1, place: Place | None = None) -> None:
    """Bring every stage up to date, training up to `num_jobs` generators or classifiers at a time.

    By default, that is two here, and as many elsewhere as there is room for. A GPU holds at most `jobs_per_gpu`
    generators at a time. Stages run here, or in another place.

    Raises:
        ValueError: a number of jobs is below 1, params.yaml is invalid, the disk cannot hold the study, or a stage
            failed (the other stages of its phase are finished first).
    """
    if num_jobs is not None and num_jobs < 1:
        raise ValueError(f"grid: --jobs {num_jobs}; need 1 or more")
    if jobs_per_gpu < 1:
        raise ValueError(f"grid: --jobs-per-gpu {jobs_per_gpu}; need 1 or more")
    # To be stopped at once: the server then stops the stages.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for folder in given_folders():
        link_photos(folder)
    if not find_changes():
        print("Data and pipelines are up to date.")
        return
    listed, stages = locked_stages(LOCK), list_stages()
    # The stage `check` does this as well, but in a clone with its results it need not run.
    study = check_study(read_params(PARAMS), PARAMS)
    require_stages(study, PARAMS, GRAPH)
    require_space(study, read_sizes(SIZES), Path())
    missing = ["--allow-missing"] if is_without_photos() else []
    with open_place(place, study, jobs_per_gpu) if place else nullcontext() as elsewhere:
        for phase in PHASES:
            starts, seats = (
                elsewhere.start(phase.chain, num_jobs)
                if elsewhere
                else start_here(phase, num_jobs or JOBS_HERE, jobs_per_gpu)
            )
            with starts as handing:
                _run(["dvc", "repro", *missing, *phase.first], os.environ | handing)
                # Asked again, since the first stages may change what the chains depend on, and how long they take.
                stale = stale_chains(find_changes(), stages, phase)
                photos = training_photos(read_json(PREPARED)) if PREPARED.is_file() else {}
                chains = longest_first(stale, study, read_sizes(SIZES), photos)
                errors = run_chains(chains, [os.environ | seat | handing for seat in seats])
            if errors:
                raise ValueError("\n".join(errors))
        # What is in no phase: further folds, which are studies of their own, and the report.
        words = elsewhere.words(num_jobs) if elsewhere else ["--jobs", str(num_jobs or JOBS_HERE)]
        _run(["dvc", "repro", *missing], os.environ | {"SDAUG_GRID": shlex.join(words)})
    sort_lock(LOCK, listed, stages)
    complete_runs(PARAMS, Path())


def start_here(
    phase: Phase, num_jobs: int, jobs_per_gpu: int
) -> tuple[AbstractContextManager[dict[str, str]], Sequence[dict[str, str]]]:
    """Warm starts for a phase on this machine, and the environment variables of each of its jobs."""
    gpus = list_gpus()
    devices = share_devices(count_seats(phase, num_jobs, gpus, jobs_per_gpu), gpus)
    # Importing libraries may initialise CUDA, which does not survive a fork.
    return nullcontext({}) if gpus else warm_starts(phase.scripts(), devices[0]), devices


def given_folders() -> list[Path]:
    """The folders that the study is given: of photos, and of images from elsewhere."""
    sources = read_params(PARAMS).get("external") or {}
    # They are not checked yet.
    folders = [source["folder"] for source in sources.values() if isinstance(source, dict) and "folder" in source]
    return [Path(read_section(PARAMS, "prepare.raw", str)), *map(Path, folders)]


def link_photos(raw: Path) -> None:
    """Let experiments that run in a copy of the repository find photos beside the checkout, such as `../photos`."""
    match raw.parts:
        case ("..", name, *more) if ".." not in (name, *more) and name not in DVC_OWN and raw.is_dir():
            for copies in COPIES:
                link = copies.joinpath(name, *more)
                if not link.exists() and not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(raw.resolve())


def is_without_photos() -> bool:
    """Whether this machine lacks a given folder, and DVC cannot make or fetch it: then what was pulled has to do."""
    lacking = [raw for raw in given_folders() if not raw.exists() and raw not in MADE_DIRS]
    return not all(any(Path(f"{folder}.dvc").is_file() for folder in (raw, *raw.parents)) for raw in lacking)


def count_seats(phase: Phase, num_jobs: int, gpus: Sequence[str], jobs_per_gpu: int) -> int:
    """How many chains of a phase run at once: generators fill the cores, or the memory of a GPU."""
    if not phase.uses_all_cores:
        return num_jobs
    return min(num_jobs, len(gpus) * jobs_per_gpu) if gpus else 1


def find_changes() -> Mapping[str, object]:
    """The stages that are out of date according to `dvc status`, by name."""
    # stderr is not captured, so DVC's own message is on the screen.
    command = ["dvc", "status", "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode and mend_files(Path()):
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise ValueError("`dvc status` failed, see above")
    keep_lock(Path())
    changes: Mapping[str, object] = json.loads(result.stdout)
    return changes


def list_stages() -> list[str]:
    """The names of all stages, in the order of dvc.yaml."""
    command = ["dvc", "stage", "list", "--name-only"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def stale_chains(changes: Mapping[str, object], stages: Sequence[str], phase: Phase) -> list[list[str]]:
    """The chains with at least one outdated stage, as lists of stage names (`train@vit-original-0`)."""
    items = [stage.partition("@")[2] for stage in stages if stage.startswith(f"{phase.chain[0]}@")]
    chains = [[stage] for stage in phase.beside] + [[f"{step}@{item}" for step in phase.chain] for item in items]
    return [chain for chain in chains if any(stage in changes for stage in chain)]


def list_gpus() -> list[str]:
    """The GPUs this process may use, named as in `CUDA_VISIBLE_DEVICES`."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        # CUDA ignores everything from the first negative index on.
        return list(takewhile(lambda name: name and not name.startswith("-"), chosen.split(",")))
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.split() if result.returncode == 0 else []


def share_devices(num_jobs: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """The environment variables for each job: GPUs are assigned round-robin, and waiting threads sleep.

    Waiting OpenMP threads spin by default, which would take CPU time from the other jobs.
    """
    # Beside a process of spinning threads, a VAE trained at 0.4 steps per second instead of 8 to 11
    # (benchmarks/sharing.py --work vae).
    patience = {"OMP_WAIT_POLICY": "passive"} if num_jobs > 1 else {}
    if len(gpus) < 2:
        return [patience] * num_jobs
    return [patience | {"CUDA_VISIBLE_DEVICES": gpus[job % len(gpus)]} for job in range(num_jobs)]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    # If this process is killed, DVC must not go on to the next stage.
    wish = end_with_parent(signal.SIGTERM)
    if subprocess.run(command, env=environment, check=False, preexec_fn=wish).returncode:
        raise ValueError(f"`{' '.join(command)}` failed, see above")
