"""Work that is stopped at any moment goes on where it was, and ends with the bytes of an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_dreambooth
import test_synthesis
import torch
from arms import arm_training
from small import BASE, build_small
from test_adapters import LORA
from test_dreambooth import CLASS_IMAGES, CONCEPT, KNOBS, PHOTOS
from test_sampling import FROM_NOISE
from test_training import EVERYTHING, HELD_OUT, IMAGES, LABELS, SMALL

from sdaug.base import adapting
from sdaug.base.adapting import adapt_base
from sdaug.common.checkpoint import Checkpoint, State, resumable_dir, work_key
from sdaug.common.files import fresh_dir
from sdaug.dreambooth.fine_tuning import train_dreambooth
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.synthesize import synthesis
from sdaug.train.examples import TrainingSet, photos_alone
from sdaug.train.params import ArmTraining, Recipe
from sdaug.train.probe import RECIPE, TRAINING
from sdaug.train.training import train_classifier

CPU = torch.device("cpu")


class Stopping(Checkpoint):
    """Saves after every step, and stops the run after so many saves."""

    def __init__(self, path: Path, num_saves: int) -> None:
        super().__init__(path, every_seconds=0.0)
        self._left = num_saves

    def save(self, state: State) -> None:
        super().save(state)
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def run_stopped(work: Callable[[Checkpoint | None], Any], path: Path, num_saves: int) -> Any:
    """What the work gives after it was stopped and run again."""
    with pytest.raises(KeyboardInterrupt):
        work(Stopping(path, num_saves))
    assert path.is_file() and not list(path.parent.glob("*.partial"))
    torch.manual_seed(77)  # another process has another state
    return work(Checkpoint(path))


def is_equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_equal(first[key], second[key]) for key in first)
    return bool(first == second)


MIXED = replace(
    photos_alone(np.concatenate([IMAGES, 255 - IMAGES]), np.tile(LABELS, 2)),
    is_synthetic=np.repeat([False, True], len(LABELS)),
)
SOFT = replace(photos_alone(IMAGES, LABELS), reconstructed=255 - IMAGES, reconstructed_rows=np.arange(len(LABELS)))
ARMS: dict[str, tuple[ArmTraining, TrainingSet]] = {
    "plain": (arm_training(), photos_alone(IMAGES, LABELS)),
    "everything": (EVERYTHING, photos_alone(IMAGES, LABELS)),
    "pretraining": (arm_training(flip_horizontal=True, pretrain_steps=5), MIXED),
    "soft": (arm_training(soften=0.5), SOFT),
    "share": (arm_training(synthetic_share=0.5), MIXED),
}


@pytest.mark.parametrize("num_saves", [1, 4, 6, 11])
@pytest.mark.parametrize("name", ARMS)
def test_a_classifier_goes_on_within_an_epoch(tmp_path: Path, name: str, num_saves: int) -> None:
    arm, training = ARMS[name]
    knobs = {"architecture": "resnet18", "image_size": 32, "dropout": 0.5} if name == "plain" else {}
    rows: list[tuple[int, dict[str, float]]] = []

    def work(checkpoint: Checkpoint | None) -> Any:
        rows.clear()
        trained = train_classifier(
            training,
            HELD_OUT,
            ["a", "b", "c"],
            recipe=Recipe(**{**vars(RECIPE), **SMALL, "schedule": "cosine", **knobs}),
            arm=arm,
            shared=replace(TRAINING, ema_decay=0.9, selection="loss"),
            seed=0,
            device=CPU,
            report=lambda step, values: rows.append((step, dict(values))),
            checkpoint=checkpoint,
        )
        return {**vars(trained), "rows": list(rows), "weights": dict(trained.weights)}

    unbroken = work(None)
    assert is_equal(run_stopped(work, tmp_path / "run.pt", num_saves), unbroken)


@pytest.mark.parametrize("num_saves", [1, 3])
@pytest.mark.parametrize(
    "knobs",
    [
        replace(KNOBS, ema_decay=0.9, schedule="cosine", gradient_accumulation_steps=2),
        replace(KNOBS, train_text_encoder=True, noise_offset=0.1),
        replace(LORA, prior_preservation=False),
    ],
    ids=["full", "text encoder", "lora"],
)
def test_dreambooth_goes_on(tmp_path: Path, knobs: DreamBoothParams, num_saves: int) -> None:
    def work(checkpoint: Checkpoint | None) -> Any:
        pipeline = build_small()
        rows: test_dreambooth.Rows = []
        history = train_dreambooth(
            pipeline,
            PHOTOS,
            CLASS_IMAGES if knobs.prior_preservation else None,
            params=replace(knobs, training_steps=4),
            concept=CONCEPT,
            class_prompt="a photo",
            seed=0,
            report=lambda step, values: rows.append((step, dict(values))),
            checkpoint=checkpoint,
        )
        parts = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
        weights = {name: test_dreambooth.weights_of(part) for name, part in parts.items()}
        return {"history": history, "rows": rows, **{name: dict(found) for name, found in weights.items()}}

    unbroken = work(None)
    assert is_equal(run_stopped(work, tmp_path / "run.pt", num_saves), unbroken)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_base_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    params = replace(BASE, adapt_steps=3)
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)

    def work(work_dir: Path | None) -> Any:
        pipeline, rows = build_small(), list[tuple[int, dict[str, float]]]()
        report = lambda step, values: rows.append((step, dict(values)))  # noqa: E731
        adapt_base(pipeline, images, params, report=report, work_dir=work_dir)
        return {"rows": rows, "unet": dict(test_dreambooth.weights_of(pipeline.unet))}

    unbroken, left = work(None), [stop]

    class Counting(Checkpoint):
        def is_due(self) -> bool:
            return True

        def save(self, state: State) -> None:
            super().save(state)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    monkeypatch.setattr(adapting, "Checkpoint", Counting)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path)
    assert is_equal(work(tmp_path), unbroken)


def test_images_that_are_drawn_are_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = build_small()
    for name in ("unbroken", "stopped"):
        (tmp_path / name).mkdir()
        test_synthesis.draw_class(pipeline, FROM_NOISE, num_images=5, out_dir=tmp_path / name)
    stopped, unbroken = tmp_path / "stopped", tmp_path / "unbroken"
    files = sorted(stopped.glob("*.png"))
    for path in (files[1], files[4], stopped / "manifest.csv"):
        path.unlink()
    drawn: list[int] = []
    plain = synthesis.draw_images
    monkeypatch.setattr(synthesis, "draw_images", lambda *a, **k: drawn.extend(a[3]) or plain(*a, **k))
    test_synthesis.draw_class(pipeline, FROM_NOISE, num_images=5, out_dir=stopped)
    assert len(drawn) == 2
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == {
        path.name: path.read_bytes() for path in unbroken.iterdir()
    }


def write_half(target: Path, key: str) -> None:
    with pytest.raises(KeyboardInterrupt), resumable_dir(target, key) as folder:
        (folder / "0").mkdir()
        (folder / ".1.pt").touch()
        raise KeyboardInterrupt


def test_a_stopped_folder_is_found_again_and_its_work_in_progress_is_not_kept(tmp_path: Path) -> None:
    write_half(tmp_path / "out", "key")
    assert not (tmp_path / "out").exists()
    with resumable_dir(tmp_path / "out", "key") as folder:
        assert (folder / "0").is_dir() and (folder / ".1.pt").is_file()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "0"]


def test_another_key_never_picks_up_the_work(tmp_path: Path) -> None:
    write_half(tmp_path / "out", "key")
    with resumable_dir(tmp_path / "out", "other") as folder:
        assert [path.name for path in folder.iterdir()] == [".key"]


def test_after_an_error_of_the_user_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not finite"), resumable_dir(tmp_path / "out", "key") as folder:
        (folder / "0").mkdir()
        raise ValueError("the loss is not finite")
    assert not list(tmp_path.iterdir())


def test_key_depends_on_settings_and_inputs_and_not_on_where_they_are(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    a, b, c = (work_key({"x": 1}, [tmp_path / name]) for name in "abc")
    assert a == b != c and work_key({"x": 2}, [tmp_path / "a"]) != a


def test_a_damaged_checkpoint_is_left_and_the_work_starts_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint(tmp_path / "run.pt")
    checkpoint.save({"step": 1})
    assert checkpoint.load() == {"step": 1}
    for content in (checkpoint.path.read_bytes()[:-9], b""):
        checkpoint.path.write_bytes(content)
        assert checkpoint.load() is None
        assert "damaged" in capsys.readouterr().err


def test_a_checkpoint_that_is_a_pickle_of_code_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"step": Harm()}, tmp_path / "run.pt")
    assert Checkpoint(tmp_path / "run.pt").load() is None and not (tmp_path / "harm").exists()


HOLD = """
import sys, time
from pathlib import Path
from sdaug.common.files import fresh_dir
with fresh_dir(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print("holds", flush=True)
    time.sleep(60)
"""


def test_a_second_run_beside_the_first_is_refused_and_a_killed_one_is_no_hindrance(tmp_path: Path) -> None:
    target = tmp_path / "out"
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE)
    assert first.stdout is not None and first.stdout.readline()
    with pytest.raises(ValueError, match="out: another run is writing it; wait for that run"), fresh_dir(target):
        pass
    first.send_signal(signal.SIGKILL)
    first.wait()
    with fresh_dir(target) as folder:
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("has_new", [False, True])
def test_a_move_that_was_cut_in_two_loses_nothing(tmp_path: Path, has_new: bool) -> None:
    """The old folder is moved away, then the new one takes its place: a kill can come between."""
    (tmp_path / ".out.old.partial").mkdir()
    (tmp_path / ".out.old.partial" / "old").touch()
    if has_new:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/new").touch()
    with pytest.raises(RuntimeError), fresh_dir(tmp_path / "out"):
        raise RuntimeError
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new" if has_new else "old"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_saving_takes_a_tenth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "fsync", lambda _: now.__setitem__(0, now[0] + 20.0))  # a slow disk
    checkpoint = Checkpoint(tmp_path / "run.pt", every_seconds=45.0)
    now[0] = 46.0
    assert checkpoint.is_due()
    checkpoint.save({})
    due = []
    for seconds in (46.0, 199.0, 201.0):
        now[0] = 66.0 + seconds
        due.append(checkpoint.is_due())
    assert due == [False, False, True]
