"""`sdaug grid --on ray`, on a cluster of two nodes on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clusters import parent_of, start_cluster

from sdaug.run.chains import run_chains
from sdaug.run.engine import serve_engine
from sdaug.run.needs import Needs
from sdaug.run.ray_engine import RayEngine, connect_ray

pytest.importorskip("ray")
# Slow, since Ray's processes have 15 seconds to start, which two busy cores do not always give them.
pytestmark = pytest.mark.slow

MEGABYTES = 10**6
NEEDS = {
    "train": Needs(cores=1, gpu_share=0.5, memory_bytes=MEGABYTES),
    "synthesize": Needs(cores=9, gpu_share=0, memory_bytes=10**15),
}
GRAPH = """
stages:
  train:
    matrix:
      arm: [one, two, three]
    cmd: python stages/train.py ${item.arm}
    deps: [stages/train.py]
    outs:
      - out/${item.arm}.txt
"""
# Says where it runs, and writes once.
TRAIN = """
import os, sys
from pathlib import Path
arm = sys.argv[1]
print(f"train: 1/1, 1.0 step/s, 0 s left", flush=True)
Path(f"seen-{arm}").write_text(os.environ["CUDA_VISIBLE_DEVICES"] + " " + os.environ["OMP_NUM_THREADS"])
if arm == "two" and Path("broken").exists():
    sys.exit("error: the loss is nan")
Path("out").mkdir(exist_ok=True)
Path(f"out/{arm}.txt").write_text(arm)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    """A connection to a cluster of two nodes; one of them claims to have a GPU."""
    memory = 100 * MEGABYTES
    nodes = {"num_cpus": 1, "memory": memory}, {"num_cpus": 2, "num_gpus": 1, "memory": memory}
    with start_cluster(*nodes) as address, connect_ray(address) as connected:
        yield connected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC with three tiny trainings, as the working directory."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "train.py").write_text(TRAIN)
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    subprocess.run(["dvc", "init", "-q", "--no-scm"], check=True)
    return tmp_path


def wait_for(path: Path) -> str:
    """The content of a file as soon as it has any."""
    for _ in range(600):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.1)
    raise TimeoutError(path)


def test_dvc_has_the_same_lock_and_a_failure_leaves_the_others_running(
    engine: RayEngine, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(
        ["dvc", "repro", "-q"], check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    )
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    (folder / "dvc.lock").unlink()
    shutil.rmtree(folder / "out")
    shutil.rmtree(folder / ".dvc" / "cache")  # or DVC would take the results from there
    (folder / "broken").touch()
    chains = [[f"train@{arm}"] for arm in ("one", "two", "three")]
    with serve_engine(engine, NEEDS) as environment:
        (error,) = run_chains(chains, [os.environ | environment] * 2)
        assert error.startswith("train@two: failed") and "error: the loss is nan" in error
        (folder / "broken").unlink()
        assert run_chains(chains[1:2], [os.environ | environment]) == []
    # Its stages stand in the order in which they ended.
    assert yaml.safe_load((folder / "dvc.lock").read_text()) == lock
    assert (folder / "seen-one").read_text() == "0 1"  # its share of the GPU, and one thread
    assert "train: 1/1, 1.0 step/s, 0 s left" in capsys.readouterr().err


def test_a_stage_asks_for_no_more_than_the_largest_machine_has(engine: RayEngine, folder: Path) -> None:
    (folder / "stages" / "synthesize.py").write_text(TRAIN)
    with serve_engine(engine, NEEDS) as environment:
        words = [environment["SHELL"], "-c", "python stages/synthesize.py one"]
        subprocess.run(words, check=True, env=os.environ | environment)
    assert (folder / "seen-one").read_text() == " 9"  # no GPU, and the threads that its result depends on
    assert engine.count_seats(NEEDS["train"]) == 2 and engine.count_seats(NEEDS["synthesize"]) == 1


def test_a_stage_whose_worker_is_killed_is_run_again_and_its_process_ends(engine: RayEngine, folder: Path) -> None:
    (folder / "stages" / "train.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "if Path('first').exists():\n    Path('second').write_text('done')\n"
        "else:\n    Path('first').write_text(str(os.getpid()))\n    time.sleep(300)\n    Path('twice').touch()\n"
    )
    with serve_engine(engine, NEEDS) as environment:
        words = [environment["SHELL"], "-c", "python stages/train.py"]
        with subprocess.Popen(words, env=os.environ | environment, stdout=subprocess.PIPE, text=True) as caller:
            stage = int(wait_for(folder / "first"))
            os.kill(parent_of(stage), signal.SIGKILL)
            said, _ = caller.communicate()
    assert caller.returncode == 0 and "train: its worker died" in said and "run again, 2 of 3" in said
    assert (folder / "second").read_text() == "done" and not Path(f"/proc/{stage}").exists()


def test_a_stage_ends_with_its_caller(engine: RayEngine, folder: Path) -> None:
    (folder / "stages" / "train.py").write_text(
        "import os, time\nopen('here', 'w').write(str(os.getpid()))\ntime.sleep(300)\n"
    )
    with serve_engine(engine, NEEDS) as environment:
        words = [environment["SHELL"], "-c", "python stages/train.py"]
        with subprocess.Popen(words, env=os.environ | environment) as caller:
            stage = int(wait_for(folder / "here"))
            caller.terminate()
    # The server ends after all stages.
    assert not Path(f"/proc/{stage}").exists()
