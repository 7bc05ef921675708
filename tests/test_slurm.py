"""`sdaug grid --on slurm`, with commands in place of Slurm that run a job in the background."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import write_slurm

from sdaug.run.engine import RECORD, serve_engine
from sdaug.run.needs import Needs
from sdaug.run.slurm_engine import connect_slurm

pytest.importorskip("submitit")

NEEDS = {"train": Needs(cores=2, gpu_share=0.5, memory_bytes=2**30)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one stage, as the working directory, and a Slurm."""
    (tmp_path / "stages").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name, value in write_slurm(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def start(folder: Path, environment: dict[str, str], script: str) -> "subprocess.Popen[str]":
    """Run a stage the way DVC does."""
    (folder / "stages" / "train.py").write_text(script)
    words = [environment["SHELL"], "-c", "python stages/train.py one"]
    return subprocess.Popen(words, env=os.environ | environment, stdout=subprocess.PIPE, text=True)


def test_a_stage_is_a_job_with_what_it_needs(folder: Path) -> None:
    engine = connect_slurm({"partition": "gpu", "time": "7"})
    with serve_engine(engine, NEEDS) as environment:
        stage = start(folder, environment, "import os, sys\nprint(sys.argv[1], os.getcwd())\nsys.exit(3)\n")
        said, _ = stage.communicate()
    assert (said, stage.returncode) == (f"one {folder}\n", 3)
    script = (folder / "script").read_text()
    for line in ("partition=gpu", "time=7", "cpus-per-task=2", "mem=1024M", "gpus-per-node=1", "job-name=sdaug-train"):
        assert f"#SBATCH --{line}\n" in script
    assert (folder / RECORD).read_text()


def test_a_job_ends_with_its_caller(folder: Path) -> None:
    with serve_engine(connect_slurm({}), NEEDS) as environment:
        here = folder / "here"
        stay = f"import os, time\nopen({str(here)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)\n"
        with start(folder, environment, stay) as caller:
            while not here.exists() or not here.read_text():
                time.sleep(0.1)
            caller.terminate()
    stage = Path("/proc", here.read_text())
    for _ in range(100):
        if not stage.exists():
            return
        time.sleep(0.1)
    pytest.fail("the stage went on")


def test_an_unknown_option_is_refused(folder: Path) -> None:  # noqa: ARG001
    with pytest.raises(ValueError, match="--slurm: Unavailable parameter.*colour"):
        connect_slurm({"colour": "red"})


def test_without_slurm_it_says_so(folder: Path) -> None:
    (folder / "bin" / "srun").unlink()
    with pytest.raises(ValueError, match="--on slurm: .*srun.* run on a machine"):
        connect_slurm({})
