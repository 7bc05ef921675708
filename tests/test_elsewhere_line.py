"""The whole pipeline on Ray and Slurm: the bytes of a run on this machine, whoever dies on the way."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from chaos import environment, read_lock
from clusters import kill_head, kill_node, parent_of, start_cluster, start_nodes, write_slurm
from line import edit_params, make_study, run

from sdaug.run.worker import WORKER_DIR

pytest.importorskip("ray")
pytest.importorskip("submitit")
# In the process that runs the study. Ray takes long to start on a busy machine; test_ray.py has quicker tests.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("line")]

GIGABYTES = 10**9
NODE = {"num_cpus": 1, "num_gpus": 1, "memory": 8 * GIGABYTES}  # neither the GPU nor the memory need be there
HEAD = {"num_cpus": 0, "memory": GIGABYTES}
FIRST, SECOND = "train@custom-original", "train@other-original"
ROUNDS, MOST_SECONDS = 6, 30.0  # of a study that takes some minutes
# On a GPU, stages would take other numbers of threads.
ON_RAY = ("sdaug", "grid", "--on", "ray", "--no-gpu")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes."""
    with start_cluster(NODE, NODE) as found:
        yield found


@pytest.fixture
def forgetful(study: Path, tmp_path: Path) -> Path:
    """A copy of the study that has to train two of its classifiers again."""
    copy = tmp_path / "study"
    shutil.copytree(study, copy, symlinks=True)
    shutil.rmtree(copy / ".dvc" / "cache" / "runs", ignore_errors=True)
    lock = yaml.safe_load((copy / "dvc.lock").read_text())
    for name in (FIRST, SECOND):
        for out in lock["stages"].pop(name)["outs"]:
            path = copy / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    return copy


def metrics_of(study: Path) -> dict[str, bytes]:
    """The bytes of the metrics."""
    files = [path for path in (study / "metrics").rglob("*") if path.is_file()]
    return {path.relative_to(study).as_posix(): path.read_bytes() for path in files}


def is_as_unbroken(found: Path, study: Path) -> bool:
    """Whether a study has the results of an unbroken one, and nothing else is left of its stages."""
    assert read_lock(found) == read_lock(study)
    assert metrics_of(found) == metrics_of(study)
    return not list(found.rglob("*.partial"))


def start_grid(study: Path, *options: str, **changes: str) -> "subprocess.Popen[str]":
    """`sdaug grid --on ray` in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [*ON_RAY, *options],
        cwd=study,
        env=environment(study) | changes,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=listen,
    )


def listen() -> None:
    """Heed Ctrl-C, also where these tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def stages_of(study: Path) -> dict[int, str]:
    """The stages that run in a study's folder: process and command."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if len(words) > 1 and words[1].startswith("stages/") and (folder / "cwd").readlink() == study:
                found[int(folder.name)] = " ".join(words[1:])
        except OSError:
            continue  # no process, or one that has ended
    return found


def wait_for_stage(study: Path, words: str, grid: "subprocess.Popen[str]") -> int:
    """The process of a stage as soon as it writes beside its output."""
    scratch = study / "models" / "classifiers" / ".custom-original.partial"
    while grid.poll() is None:
        found = [process for process, command in stages_of(study).items() if words in command]
        if found and scratch.exists():
            return found[0]
        time.sleep(0.01)
    raise AssertionError(grid.communicate()[0])


MODEL = "train.py --model custom --dataset original"


def test_a_study_whose_worker_is_killed_ends_as_an_unbroken_one(study: Path, forgetful: Path, address: str) -> None:
    with start_grid(forgetful, "--address", address) as grid:
        stage = wait_for_stage(forgetful, MODEL, grid)
        assert not (forgetful / "models" / "classifiers" / "custom-original").exists()
        os.kill(parent_of(stage), signal.SIGKILL)
        said, _ = grid.communicate()
    assert grid.returncode == 0, said
    assert "train: its worker died" in said and "run again, 2 of 3" in said
    assert "custom on original, seed 1: 2/2" in said, "progress comes through"
    assert is_as_unbroken(forgetful, study)


def test_a_study_whose_node_is_killed_ends_as_an_unbroken_one(study: Path, forgetful: Path) -> None:
    with (
        start_nodes(HEAD, NODE, NODE) as cluster,
        start_grid(forgetful, "--address", cluster.address) as grid,
    ):
        stage = wait_for_stage(forgetful, MODEL, grid)
        kill_node(cluster, parent_of(stage))
        said, _ = grid.communicate()
        assert len(cluster.list_all_nodes()) == 2
    assert grid.returncode == 0, said
    assert "train: its worker died" in said and "run again, 2 of 3" in said
    assert is_as_unbroken(forgetful, study)


def test_a_study_whose_cluster_is_killed_goes_on_in_another_as_if_unbroken(study: Path, forgetful: Path) -> None:
    with (
        start_nodes(HEAD, NODE) as cluster,
        start_grid(forgetful, "--address", cluster.address) as grid,
    ):
        wait_for_stage(forgetful, MODEL, grid)
        kill_head(cluster)
        said, _ = grid.communicate()  # Ray waits for a minute
    assert grid.returncode != 0, said
    while stages_of(forgetful):
        time.sleep(0.1)
    with start_cluster(NODE) as other, start_grid(forgetful, "--address", other) as grid:
        said, _ = grid.communicate()
    assert grid.returncode == 0, said
    assert is_as_unbroken(forgetful, study)


def test_a_study_that_is_killed_goes_on_as_if_unbroken(study: Path, forgetful: Path, address: str) -> None:
    with start_grid(forgetful, "--address", address) as grid:
        wait_for_stage(forgetful, MODEL, grid)
        grid.kill()
    while stages_of(forgetful):  # they end with it
        time.sleep(0.1)
    assert set(read_lock(forgetful)).isdisjoint({FIRST, SECOND})
    with start_grid(forgetful, "--address", address) as grid:
        said, _ = grid.communicate()
    assert grid.returncode == 0, said
    assert is_as_unbroken(forgetful, study)


def test_ctrl_c_stops_all(forgetful: Path) -> None:
    # A short path: that of a socket has at most 107 bytes.
    with TemporaryDirectory(prefix="r") as folder, start_grid(forgetful, RAY_TMPDIR=folder) as grid:
        wait_for_stage(forgetful, "train.py --model custom --dataset original", grid)
        os.killpg(grid.pid, signal.SIGINT)
        said, _ = grid.communicate()
    assert grid.returncode != 0, said
    assert stages_of(forgetful) == {}
    assert processes_of_session(grid.pid) == []
    assert set(read_lock(forgetful)).isdisjoint({FIRST, SECOND})


def processes_of_session(session: int) -> list[str]:
    """The processes that a command and those that it has started have left: Ray's among them."""
    listed = subprocess.run(["ps", "-s", str(session), "-o", "args="], capture_output=True, text=True, check=False)
    return listed.stdout.splitlines()


def test_a_stage_that_fails_leaves_the_others_to_finish(study: Path, forgetful: Path, address: str) -> None:
    script = forgetful / "stages" / "train.py"
    fault = (
        '\nimport sys\nif "models/classifiers/custom-original" in sys.argv:\n    sys.exit("error: the loss is nan")\n'
    )
    script.write_text(script.read_text().replace("\nimport _source", f"{fault}\nimport _source", 1))
    with start_grid(forgetful, "--address", address) as grid:
        said, _ = grid.communicate()
    assert grid.returncode == 1 and f"{FIRST}, evaluate@custom-original: FAILED" in said
    assert "error: the loss is nan" in said.split("failed; its output:")[-1], "the command ends with the error"
    assert read_lock(forgetful)[SECOND]["outs"] == read_lock(study)[SECOND]["outs"]
    assert FIRST not in read_lock(forgetful)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study that was not run, and a copy that was run on this machine; elsewhere its images are drawn in shards."""
    folder = tmp_path_factory.mktemp("places")
    make_study(folder / "new")
    edit_params(folder / "new", seeds=[0], generator_seeds=[0], synthesize__shards=3, synthesize__drawing__batch_size=2)
    return folder / "new", run_copy(folder / "new", folder / "here", "--on", "local", "--jobs", "1")


def run_copy(study: Path, copy: Path, *options: str, **changes: str) -> Path:
    """Run a copy of a study from the start."""
    copy.mkdir()
    shutil.copytree(study, copy / "study", symlinks=True)
    paths = {"PYTHONPATH": str(copy / "study" / "src"), "HOME": str(Path.home())}
    run(copy / "study", "sdaug", "grid", *options, **paths | changes)
    return copy / "study"


def assert_same(found: Path, wanted: Path) -> None:
    """Two studies have results of the same bytes, dvc.lock among them."""
    assert (found / "dvc.lock").read_text() == (wanted / "dvc.lock").read_text()
    assert metrics_of(found) == metrics_of(wanted)


@pytest.mark.parametrize("num_nodes", [1, 2, 4])
def test_ray_with_any_number_of_workers_leaves_what_this_machine_does(
    here: tuple[Path, Path], tmp_path: Path, num_nodes: int
) -> None:
    study, wanted = here
    with start_cluster(*[NODE] * num_nodes) as address:
        found = run_copy(study, tmp_path / "ray", "--on", "ray", "--no-gpu", "--address", address)
    assert_same(found, wanted)


def test_a_study_that_is_killed_at_random_moments_ends_as_an_unbroken_one(
    here: tuple[Path, Path], tmp_path: Path
) -> None:
    study, wanted = here
    rng, folder = random.Random(0), tmp_path / "study"
    shutil.copytree(study, folder, symlinks=True)
    with start_nodes(HEAD, NODE, NODE) as cluster:
        for _ in range(ROUNDS):
            with start_grid(folder, "--address", cluster.address) as grid:
                time.sleep(rng.uniform(0, MOST_SECONDS))
                for process in rng.sample(sorted(stages_of(folder)), k=min(1, len(stages_of(folder)))):
                    with contextlib.suppress(OSError):  # it has ended by itself
                        os.kill(parent_of(process), signal.SIGKILL)
                time.sleep(rng.uniform(0, MOST_SECONDS))
                grid.kill()
            while stages_of(folder):
                time.sleep(0.1)
        with start_grid(folder, "--address", cluster.address) as grid:
            said, _ = grid.communicate()
    assert grid.returncode == 0, said
    assert is_as_unbroken(folder, wanted)


def test_workers_without_the_folder_leave_what_this_machine_does(
    here: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, wanted = here
    monkeypatch.setenv(WORKER_DIR, str(tmp_path / "worker"))  # of the cluster
    with start_cluster(NODE, NODE) as address:
        found = run_copy(study, tmp_path / "ray", "--on", "ray", "--no-gpu", "--pull", "--address", address)
    assert_same(found, wanted)
    assert list((tmp_path / "worker" / "studies").iterdir()) == []


def test_slurm_leaves_what_this_machine_does(here: tuple[Path, Path], tmp_path: Path) -> None:
    study, wanted = here
    found = run_copy(study, tmp_path / "slurm", "--on", "slurm", "--jobs", "2", **write_slurm(tmp_path))
    assert_same(found, wanted)
