"""`sdaug grid`: which stages run, how jobs share devices, and what a failure leaves behind."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sdaug.run.chains import run_chains, run_jobs, share_out
from sdaug.run.grid import Phase, count_seats, list_gpus, run_grid, share_devices, stale_chains

PHASE = Phase(first=("split",), chain=("train", "evaluate"), beside=("fidelity",))
CHAIN = ["train@vit-original", "evaluate@vit-original"]
STAGES = ["split@original", "train@vit-original", "train@vit-augmented", "evaluate@vit-original", "report"]


def fake_dvc(folder: Path, script: str) -> dict[str, str]:
    """An environment whose `dvc` is a shell script."""
    path = folder / "dvc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("changed", CHAIN)
def test_a_chain_is_stale_if_its_training_or_its_evaluation_is(changed: str) -> None:
    assert stale_chains({changed: ["changed deps"]}, STAGES, PHASE) == [CHAIN]


def test_a_single_stage_runs_beside_the_chains() -> None:
    changes = {"fidelity": ["changed deps"], "train@vit-original": ["changed deps"]}
    assert stale_chains(changes, STAGES, PHASE) == [["fidelity"], CHAIN]


def test_a_change_elsewhere_makes_no_chain_stale() -> None:
    assert stale_chains({"split@original": [], "report": []}, STAGES, PHASE) == []


def test_a_failed_chain_says_why(tmp_path: Path) -> None:
    environment = fake_dvc(tmp_path, 'echo "the loss is nan"; exit 1')
    (error,) = run_chains([CHAIN], [environment])
    assert error.startswith(f"{', '.join(CHAIN)}: failed") and "the loss is nan" in error


def test_training_comes_before_evaluation_in_one_process(tmp_path: Path) -> None:
    environment = fake_dvc(tmp_path, f'echo "$@" >> {tmp_path}/calls')
    assert run_chains([CHAIN], [environment]) == []
    [call] = (tmp_path / "calls").read_text().splitlines()
    assert call.split()[-2:] == CHAIN


def test_no_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="--jobs 0; need 1 or more"):
        run_grid(0)


def test_a_gpu_without_seats_is_refused() -> None:
    with pytest.raises(ValueError, match="--jobs-per-gpu 0; need 1 or more"):
        run_grid(2, jobs_per_gpu=0)


@pytest.mark.parametrize(
    ("gpus", "jobs_per_gpu", "seats"), [([], 2, 1), (["0"], 1, 1), (["0"], 2, 2), (["0", "1"], 1, 2), (["0"], 9, 4)]
)
def test_a_gpu_holds_one_generator_unless_told_otherwise(gpus: list[str], jobs_per_gpu: int, seats: int) -> None:
    generators = Phase(first=(), chain=("dreambooth",), uses_all_cores=True)
    assert count_seats(generators, 4, gpus, jobs_per_gpu) == seats
    assert count_seats(PHASE, 4, gpus, jobs_per_gpu) == 4


def test_each_job_has_a_gpu_of_its_own_where_there_are_several() -> None:
    shared = share_devices(3, ["0", "1"])
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in shared] == ["0", "1", "0"]


@pytest.mark.parametrize("gpus", [[], ["0"]])
def test_jobs_on_one_device_choose_none(gpus: list[str]) -> None:
    assert share_devices(2, gpus) == [{"OMP_WAIT_POLICY": "passive"}] * 2


def test_a_single_job_waits_as_usual() -> None:
    assert share_devices(1, []) == [{}]


def test_gpus_that_are_set_are_those_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert list_gpus() == ["2", "3"]


@pytest.mark.parametrize("value", ["", "-1", "-1,0"])
def test_gpus_that_are_hidden_are_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert list_gpus() == []


def test_progress_is_passed_on_and_other_output_only_after_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = fake_dvc(tmp_path, "echo 'VAE: 3/9, 1.0 step/s, 6 s left'; echo broken; exit 1")
    (error,) = run_chains([CHAIN], [environment])
    shown = capsys.readouterr().err
    assert "broken" in error
    assert "VAE: 3/9" in shown and "broken" not in shown


def test_each_job_has_one_item_at_a_time_and_results_keep_their_order() -> None:
    busy, lock = set[str](), threading.Lock()

    def work(item: int, environment: dict[str, str]) -> int:
        with lock:
            assert environment["JOB"] not in busy
            busy.add(environment["JOB"])
        time.sleep(0.01 * (item % 3))
        with lock:
            busy.remove(environment["JOB"])
        return item**2

    assert run_jobs(work, range(12), [{"JOB": "a"}, {"JOB": "b"}]) == [item**2 for item in range(12)]


@pytest.mark.parametrize("num_seats", [1, 2, 16])
def test_dvc_processes_grow_in_number_with_the_logarithm_of_the_chains(num_seats: int) -> None:
    chains = [[f"train@{index}"] for index in range(4000)]
    few, many = share_out(chains[:1000], num_seats), share_out(chains, num_seats)
    assert [chain for batch in many for chain in batch] == chains
    # Each fourfold number of chains adds the same number of processes.
    assert len(many) - len(few) < 7 * num_seats
    assert {len(batch) for batch in many[-2 * num_seats :]} == {1}


def test_few_chains_have_a_process_each() -> None:
    chains = [[f"train@{index}"] for index in range(15)]
    assert share_out(chains, 2) == [[chain] for chain in chains]


def test_a_failure_leaves_the_others_of_its_process_running_and_tells_of_itself_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As DVC does: the first stage that fails ends the process.
    script = f"""shift 3
    for stage; do
        echo "Running stage '$stage':"; echo "words of $stage"; echo $stage >> {tmp_path}/ran
        case $stage in train@3|evaluate@7) echo "nan in $stage"; exit 255;; esac
    done"""
    chains = [[f"train@{index}", f"evaluate@{index}"] for index in range(20)]
    errors = run_chains(chains, [fake_dvc(tmp_path, script)])
    assert [error.partition(":")[0] for error in errors] == ["train@3, evaluate@3", "train@7, evaluate@7"]
    assert "nan in evaluate@7" in errors[1] and "words of train@7" in errors[1]
    assert not [word for error in errors for word in ("train@2", "evaluate@6", "train@8") if word in error]
    # A chain ends with its failure, and no other stage is left out or run twice.
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == sorted(stage for chain in chains for stage in chain if stage != "evaluate@3")
    told = [line for line in capsys.readouterr().err.splitlines() if line.endswith(" s")]
    assert sorted(line.partition(":")[0] for line in told) == sorted(
        ", ".join(chain) for index, chain in enumerate(chains) if index not in (3, 7)
    )


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a process of its parent's end")


def has_ended(number: int) -> bool:
    """Whether a process ends soon."""
    for _ in range(600):
        try:
            status = Path(f"/proc/{number}/status").read_text()
        except OSError:
            return True
        if "\nState:\tZ" in status:  # nobody waits for it
            return True
        time.sleep(0.05)
    return False


@LINUX
@pytest.mark.parametrize("call", ["run_batch([['train']], {})", "_run(['dvc', 'repro'], {})"])
def test_dvc_ends_with_a_grid_that_is_killed(tmp_path: Path, call: str) -> None:
    environment = fake_dvc(tmp_path, f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 300")
    call = call.replace("{}", "os.environ")
    words = [
        sys.executable,
        "-c",
        f"import os; from sdaug.run.chains import run_batch; from sdaug.run.grid import _run; {call}",
    ]
    with subprocess.Popen(words, env=environment) as grid:
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        grid.kill()
    assert has_ended(int((tmp_path / "pid").read_text()))


@LINUX
def test_a_stage_ends_with_a_dvc_that_is_killed(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 300"
    shell = Path(sys.executable).with_name("sdaug-shell")
    words = [sys.executable, "-c", f"import subprocess; subprocess.run([{str(shell)!r}, '-c', {script!r}])"]
    with subprocess.Popen(words) as parent:
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        parent.kill()
    assert has_ended(int((tmp_path / "pid").read_text()))
