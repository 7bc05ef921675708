"""Stages on other machines: what is handed over, what is told of workers, and what becomes of a worker that dies."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sdaug.run.engine import RECORD, LostWorkerError, select_variables, serve_engine
from sdaug.run.needs import Needs
from sdaug.run.worker import Event, Task, list_versions, run_task

NEEDS = {"train": Needs(cores=1, gpu_share=0, memory_bytes=1)}
SAY = "import os, sys\nprint(sys.argv[1:], os.getcwd(), os.environ['OMP_NUM_THREADS'])\nsys.exit(len(sys.argv) - 1)\n"


class HereAttempt:
    """A stage in a thread of this process; after so many deaths it runs."""

    def __init__(self, task: Task, *, is_lost: bool) -> None:
        self.task, self.is_lost, self.stopped = task, is_lost, threading.Event()

    def events(self) -> Iterator[Event]:
        for event in run_task(self.task):
            if self.stopped.is_set():
                raise LostWorkerError("stopped")
            yield event
            if self.is_lost:
                raise LostWorkerError("power cut")

    def cancel(self) -> None:
        self.stopped.set()


class Here:
    """An engine on this machine whose workers die so many times."""

    def __init__(self, deaths: int = 0) -> None:
        self.deaths, self.submitted = deaths, list[Task]()

    def submit(self, task: Task, needs: Needs) -> HereAttempt:  # noqa: ARG002
        self.submitted.append(task)
        return HereAttempt(task, is_lost=len(self.submitted) <= self.deaths)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of small stages, as the working directory."""
    (tmp_path / "stages").mkdir()
    for name in ("train", "report"):
        (tmp_path / "stages" / f"{name}.py").write_text(SAY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path


def run(command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command the way DVC runs a stage's command."""
    words = [environment["SHELL"], "-c", command]
    return subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_a_stage_has_its_arguments_folder_threads_and_exit_status(folder: Path) -> None:
    with serve_engine(Here(), NEEDS) as environment:
        done = run("python stages/train.py --model vit", environment)
    assert (done.stdout, done.returncode) == (f"['--model', 'vit'] {folder} 1\n", 2)


def test_stages_that_need_little_stay_here(folder: Path) -> None:
    engine = Here()
    with serve_engine(engine, NEEDS) as environment:
        done = run("python stages/report.py", environment)
    assert done.stdout == f"[] {folder} 7\n" and not engine.submitted


def test_a_stage_whose_worker_died_is_run_again(folder: Path) -> None:
    with serve_engine(Here(deaths=2), NEEDS) as environment:
        done = run("python stages/train.py", environment)
    assert done.returncode == 0 and done.stdout.endswith(f"[] {folder} 1\n")
    assert "train: its worker died (power cut); run again, 3 of 3" in done.stdout


def test_a_stage_whose_workers_die_is_given_up(folder: Path) -> None:  # noqa: ARG001
    engine = Here(deaths=9)
    with serve_engine(engine, NEEDS) as environment:
        done = run("python stages/train.py", environment)
    assert done.returncode == 1 and len(engine.submitted) == 3
    assert "train: its worker died (power cut); given up" in done.stdout


def test_where_each_stage_ran_is_recorded(folder: Path) -> None:
    with serve_engine(Here(), NEEDS) as environment:
        run("python stages/train.py --model vit", environment)
    [line] = (folder / RECORD).read_text().splitlines()
    record = json.loads(line)
    assert record["stage"] == "stages/train.py --model vit" and record["processor"]
    assert record["versions"] == list_versions() and record["versions"]["python"]


def test_other_versions_are_told_or_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = list_versions() | {"numpy": "0.1"}
    monkeypatch.setattr("sdaug.run.machines.list_versions", lambda: there)
    with serve_engine(Here(), NEEDS) as environment:
        assert run("python stages/train.py", environment).stdout == f"[] {folder} 1\n"
    assert "instead of 0.1; numbers may differ in their last digits" in capfd.readouterr().err
    with serve_engine(Here(), NEEDS, same_versions=True) as environment:
        done = run("python stages/train.py", environment)
    assert done.returncode == 1 and "instead of 0.1; install the same, or leave out --same-versions" in done.stdout


def test_other_hardware_is_told_or_refused(
    folder: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    processors = iter(["Old", "New"] * 2)
    monkeypatch.setattr("sdaug.run.worker._processor", lambda: next(processors))
    with serve_engine(Here(), NEEDS) as environment:
        assert [run("python stages/train.py", environment).returncode for _ in range(2)] == [0, 0]
    assert "New instead of Old; numbers may differ in their last digits" in capfd.readouterr().err
    with serve_engine(Here(), NEEDS, same_hardware=True) as environment:
        assert run("python stages/train.py", environment).returncode == 0
        done = run("python stages/train.py", environment)
    assert done.returncode == 1 and "New instead of the Old of" in done.stdout


SHARD = """
import sys, pathlib
shard = sys.argv[-1].replace("/", "-of-")
out = pathlib.Path(sys.argv[2])
if sys.argv[-2] == "--shard":
    part = out.with_name(f".{out.name}.shards.partial") / shard
    part.mkdir(parents=True)
    print("drew", end=" ", flush=True)
    print("one")
    sys.exit(pathlib.Path("broken").exists() and shard == "2-of-3")
out.mkdir()
(out / "all").write_text(" ".join(sorted(path.name for path in out.parent.glob(".rare*/*"))))
"""


def test_shards_go_to_workers_and_are_collected_here(folder: Path) -> None:
    (folder / "stages" / "synthesize.py").write_text(SHARD)
    engine, needs = Here(), {"synthesize": Needs(cores=1, gpu_share=0, memory_bytes=1, shards=3)}
    command = "python stages/synthesize.py --out rare"
    with serve_engine(engine, needs) as environment:
        done = run(command, environment)
    assert done.returncode == 0 and (folder / "rare" / "all").read_text() == "1-of-3 2-of-3 3-of-3"
    assert sorted(done.stdout.splitlines()) == [f"shard {number}/3: drew one" for number in (1, 2, 3)]
    assert {task.words[-1] for task in engine.submitted} == {"1/3", "2/3", "3/3"}


def test_a_shard_that_fails_ends_the_stage_after_the_others(folder: Path) -> None:
    (folder / "stages" / "synthesize.py").write_text(SHARD)
    (folder / "broken").touch()
    needs = {"synthesize": Needs(cores=1, gpu_share=0, memory_bytes=1, shards=3)}
    with serve_engine(Here(), needs) as environment:
        done = run("python stages/synthesize.py --out rare", environment)
    assert done.returncode == 1 and not (folder / "rare").exists()
    assert len(list((folder / ".rare.shards.partial").iterdir())) == 3


def test_a_worker_that_does_not_see_the_study_says_so(tmp_path: Path) -> None:
    task = Task(words=("stages/train.py",), folder=str(tmp_path / "gone"), environment={}, has_gpu=False)
    with pytest.raises(ValueError, match="gone: not here; workers need the study's folder at the same path"):
        list(run_task(task))


def test_a_stage_ends_with_its_caller(folder: Path) -> None:
    stay = "import os, time\nopen('here', 'w').write(str(os.getpid()))\nfor _ in range(600):\n    print(flush=True)\n"
    (folder / "stages" / "train.py").write_text(f"{stay}    time.sleep(0.1)\n")
    with serve_engine(Here(), NEEDS) as environment:
        words = [environment["SHELL"], "-c", "python stages/train.py"]
        with subprocess.Popen(words, env=os.environ | environment, stdout=subprocess.DEVNULL) as caller:
            while not (folder / "here").exists() or not (folder / "here").read_text():
                time.sleep(0.05)
            caller.kill()
    # The server ends after all stages.
    assert not Path("/proc", (folder / "here").read_text()).exists()


def test_passwords_are_not_sent() -> None:
    sent = {"MLFLOW_TRACKING_URI": "http://a", "SDAUG_MLFLOW": "off", "OMP_WAIT_POLICY": "passive"}
    kept = {"MLFLOW_TRACKING_TOKEN": "t", "HF_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "k", "HOME": "/h", "PATH": "/b"}
    assert select_variables(sent | kept) == sent
