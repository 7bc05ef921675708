"""A copy of the study with another validation fold: run to its end, with generators and classifiers of its own.

DVC has one pipeline per folder, so that each fold is a checkout of its own in the work folder. They share DVC's cache
with the study: what is equal there is not computed again, and what a fold has made is found again.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from ruamel.yaml import YAML

from sdaug.common.files import write_text
from sdaug.common.params import MADE_DIRS

METRICS = ("train", "history", "evaluate", "predictions")  # what the verdict reads of each run
PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
# Nothing that a stage of a fold reads.
LEFT_OUT = {"docs", "tests", "benchmarks", "findings", "report"}
STOP_SECONDS = 0.1  # between two looks whether all folds have ended
GRID = "SDAUG_GRID"  # the options of `sdaug grid`, set by itself


def run_folds(study: Path, folds: Sequence[int], work: Path) -> dict[int, Path]:
    """Run the study in the folder `study` on further validation folds, in folders of `work`; the folders of metrics.

    One after another here, where one fills the cores; all at once if `sdaug grid` hands stages to other machines.

    Raises:
        ValueError: a stage failed, whose message is on the screen; other folds that had begun are finished.
    """
    running, options = set[subprocess.Popen[bytes]](), shlex.split(os.environ.get(GRID, "--jobs 1"))
    pool = ThreadPoolExecutor(len(folds) or 1 if "--on" in options else 1)
    found = [pool.submit(run_fold, study, fold, work / str(fold), options, running) for fold in folds]
    try:
        wait(found, return_when=ALL_COMPLETED if "--on" in options else FIRST_EXCEPTION)
        return {fold: metrics.result() for fold, metrics in zip(folds, found, strict=True)}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(fold.done() for fold in found):  # this process is stopped, or a fold has failed
            for process in [*running]:
                process.terminate()
            time.sleep(STOP_SECONDS)


def run_fold(
    study: Path, fold: int, work: Path, options: Sequence[str], running: "set[subprocess.Popen[bytes]]"
) -> Path:
    """Run the study on a validation fold, in `work`; returns the folder of its metrics.

    A run that was interrupted goes on. While it runs, its process is in `running`.

    Raises:
        ValueError: a stage failed, whose message is on the screen.
    """
    copy_study(study, work)
    set_fold(work / PARAMS, fold)
    link_photos(study, work)
    environment = {
        **os.environ,
        "PYTHONPATH": str(work.resolve() / "src"),
        "DVC_ROOT": os.environ.get("DVC_ROOT", str(study.resolve())),  # where MLflow's database is
        "DVC_EXP_NAME": f"{os.environ.get('DVC_EXP_NAME', '')} fold {fold}".strip(),
    }
    environment.pop("SHELL", None)  # which may hand stages to a server that belongs to the study's folder
    environment.pop("DVC_STAGE", None)
    command = [sys.executable, "-c", "from sdaug.run.cli import main; main()"]
    command += ["grid", *options]
    print(f"fold {fold}: in {work}", flush=True)
    with subprocess.Popen(command, cwd=work, env=environment) as process:
        running.add(process)
        process.wait()
        running.discard(process)
    if process.returncode:
        raise ValueError(f"cross_validate.folds: {fold}: its study failed, see above; its folder is {work}")
    return work / "metrics"


def copy_study(study: Path, work: Path) -> None:
    """Bring the files of the study that Git knows, or might, to its copy; files that are gone there go here as well.

    What the copy has made, and its dvc.lock, stay.
    """
    names = {name for name in _list_files(study) if name.parts[0] not in LEFT_OUT}
    is_first = not (work / LOCK).is_file()
    kept = set() if is_first else {LOCK, *(name for name in names if name.parts[0] == "metrics")}
    for name in sorted(names - kept):
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_bytes() != (study / name).read_bytes():
            shutil.copy2(study / name, target)
    for folder in ("src", "stages"):
        for path in [*(work / folder).rglob("*.py")]:
            if path.relative_to(work) not in names:
                path.unlink()
    # A repository of its own, below another one; it keeps what it makes where the study does.
    cache = subprocess.run(["dvc", "cache", "dir"], cwd=study, capture_output=True, text=True, check=True)
    write_text(work / ".dvc/config.local", f"[core]\n    no_scm = true\n[cache]\n    dir = {cache.stdout.strip()}\n")


def set_fold(params: Path, fold: int) -> None:
    """Make `fold` the validation fold of a params file, and the only one."""
    yaml = YAML()
    yaml.preserve_quotes = True
    values = yaml.load(params.read_text(encoding="utf-8"))
    values["split"]["fold"], values["cross_validate"]["folds"] = fold, []
    with params.open("w", encoding="utf-8") as stream:
        yaml.dump(values, stream)


def link_photos(study: Path, work: Path) -> None:
    """Let the copy find photos and images from elsewhere that are given by a relative path, unless DVC brings them."""
    params = YAML(typ="safe").load((work / PARAMS).read_text(encoding="utf-8"))
    for given in (params["prepare"]["raw"], *(source["folder"] for source in params.get("external", {}).values())):
        _link_folder(study, work, Path(given))


def _link_folder(study: Path, work: Path, raw: Path) -> None:
    is_tracked = raw in MADE_DIRS or any(study.joinpath(f"{folder}.dvc").is_file() for folder in (raw, *raw.parents))
    link = work / raw
    if raw.is_absolute() or is_tracked or link.is_symlink() or link.exists() or not (study / raw).is_dir():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to((study / raw).resolve())


def _list_files(study: Path) -> Iterator[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=study, capture_output=True, check=False)
    if listed.returncode:
        raise ValueError(
            f"cross_validate: {' '.join(listed.stderr.decode().split())}; a study is copied by its files in Git: run "
            "`git init` and `git add .` first"
        )
    return (
        Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name and (study / os.fsdecode(name)).is_file()
    )
