"""A full disk, a folder that cannot be written, too little memory: one line that says what to do, nothing is lost."""

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sdaug.check import disk
from sdaug.check.disk import estimate_bytes, read_sizes, require_space, write_sizes
from sdaug.check.study import StudyParams, check_study
from sdaug.common.checkpoint import Checkpoint
from sdaug.common.files import fresh_dir
from sdaug.common.sections import read_params
from sdaug.common.stage import INTERRUPTED, TERMINATED, escape, explain, run_stage

ROOT = Path(__file__).parents[1]
SIZES = {"custom": 1_500_000, "resnet18": 45_000_000}


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 20 kB, which fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def explained(work: Callable[[], object]) -> str | None:
    """What the user is told of the error that some work ends with."""
    with pytest.raises(Exception) as error:
        work()
    assert isinstance(error.value, Exception)
    return explain(error.value)


@pytest.mark.parametrize("kind", ["weights", "checkpoint", "picture", "text"])
def test_each_library_that_finds_the_disk_full_ends_with_the_same_message(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    writes: dict[str, Callable[[], object]] = {
        "weights": lambda: save_file({"a": torch.zeros(100_000)}, tmp_path / "a.safetensors"),
        "checkpoint": lambda: Checkpoint(tmp_path / "run.pt").save({"a": torch.zeros(100_000)}),
        "picture": lambda: Image.fromarray(noise).save(tmp_path / "a.png"),
        "text": lambda: (tmp_path / "a.csv").write_text("x" * 100_000),
    }
    with full_disk():
        message = explained(writes[kind])
    assert message is not None and "the disk is full, or a quota is" in message and "run again" in message


def test_a_checkpoint_outlives_a_disk_that_is_full_when_the_next_one_is_saved(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.pt")
    checkpoint.save({"step": 1})
    with full_disk():
        explained(lambda: checkpoint.save({"step": 2, "a": torch.zeros(100_000)}))
    assert checkpoint.load() == {"step": 1}
    checkpoint.save({"step": 3})
    assert checkpoint.load() == {"step": 3} and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    def write() -> None:
        with fresh_dir(Path("/sys/out")):  # where not even root may write
            pass

    assert (explained(write) or "").startswith("/sys/out: cannot write here (")
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "a.csv"))
    assert (
        explain(error) == f"{tmp_path}/a.csv: Permission denied; make it readable and writable for you, and run again"
    )


def test_a_file_that_is_gone_is_named_with_the_way_to_get_it_back(tmp_path: Path) -> None:
    message = explained(lambda: (tmp_path / "manifest.csv").read_text())
    assert message is not None and "manifest.csv: not found" in message and "dvc checkout" in message


def test_too_little_memory_is_no_traceback() -> None:
    assert "batch_size" in (explain(torch.OutOfMemoryError("CUDA out of memory")) or "")
    assert "too little memory" in (explain(MemoryError()) or "")


def test_a_bug_keeps_its_traceback() -> None:
    def fail() -> None:
        raise KeyError("a")

    assert explain(RuntimeError("expected scalar type")) is None
    with pytest.raises(KeyError):
        run_stage(fail)


def test_names_of_files_cannot_steer_the_terminal() -> None:
    assert escape("a\x1b[2J\r\x07b\udc80\nc é 猫") == "a\\x1b[2J\\r\\x07b\\udc80\\nc é 猫"


WAIT = """
import time
from sdaug.common.stage import run_stage
def wait():
    try:
        print("works", flush=True)
        time.sleep(60)
    finally: print("cleans up", flush=True)
run_stage(wait)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_a_stage_that_is_told_to_stop_cleans_up_without_a_traceback(number: int, status: int) -> None:
    command = [sys.executable, "-c", WAIT]
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert stage.stdout is not None and stage.stdout.readline() == "works\n"
    stage.send_signal(number)
    out, err = stage.communicate(timeout=20)
    assert (stage.returncode, out) == (status, "cleans up\n") and "Traceback" not in err


@pytest.fixture
def study() -> StudyParams:
    path = ROOT / "params.yaml"
    return check_study(read_params(path), path)


def test_the_estimate_grows_with_what_is_asked_for(study: StudyParams) -> None:
    photos = 1000
    shipped = replace(study.base, model=str(ROOT / "pretrained" / "small"))
    least = estimate_bytes(replace(study, base=shipped), SIZES, photos)
    large = replace(study, base=replace(study.base, model="owner/name"), seeds=[*range(6)])
    most = estimate_bytes(large, SIZES, photos)
    # Three classes with three draws each, of a UNet of 860 million weights in float32.
    assert 9 * 3.44e9 < most["generators"] < 20 * 3.44e9 and least["generators"] < 1e9
    assert most["classifiers"] == 2 * least["classifiers"] == 3 * 6 * sum(SIZES.values())
    lora = replace(large, dreambooth=replace(study.dreambooth, method="lora"))
    assert estimate_bytes(lora, SIZES, photos)["generators"] < most["generators"] / 20


def test_a_classifier_that_left_the_study_takes_no_room(study: StudyParams) -> None:
    """The sizes are of the last run of the stage `check`, and params.yaml has changed since."""
    assert estimate_bytes(study, SIZES | {"former": 10**12}, 1000) == estimate_bytes(study, SIZES, 1000)


def test_a_disk_that_is_too_small_is_found_before_anything_runs(
    study: StudyParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(estimate_bytes(study, SIZES, 763).values())
    free = [needed + 10**6]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    require_space(study, SIZES, tmp_path)
    free[0] = needed - 10**6
    with pytest.raises(ValueError, match=r"will write about .* more \(base .*generators .*\), and .* are free"):
        require_space(study, SIZES, tmp_path)
    # What is there already need not be written again.
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_bytes(bytes(2 * 10**6))
    require_space(study, SIZES, tmp_path)
    free[0] = 0
    monkeypatch.setenv(disk.OFF, "off")
    require_space(study, SIZES, tmp_path)


def test_photos_of_a_folder_are_counted(study: StudyParams, tmp_path: Path) -> None:
    (tmp_path / "raw" / "a").mkdir(parents=True)
    for index in range(3):
        (tmp_path / "raw" / "a" / f"{index}.png").touch()
    own = replace(study, phantom=None, prepare=replace(study.prepare, raw=Path("raw")), datasets=study.datasets)
    assert disk.count_photos(own, tmp_path) == 3 and disk.count_photos(study, tmp_path) == 763


def test_sizes_are_kept(tmp_path: Path) -> None:
    assert read_sizes(tmp_path / "sizes.json") == {}
    write_sizes(tmp_path / "sizes.json", SIZES)
    assert read_sizes(tmp_path / "sizes.json") == SIZES


def test_the_committed_sizes_are_those_of_the_committed_classifiers(study: StudyParams) -> None:
    assert set(read_sizes(ROOT / "metrics" / "sizes.json")) == set(study.classifiers)
