"""Kills stages at random moments, then lets the study finish: dvc.lock must be that of an unbroken run.

    python tests/chaos.py FOLDER --kills 20

FOLDER is a checkout whose study has run, with all results committed. Each stage is started by `dvc repro` and killed
with all its processes (SIGKILL), at a moment drawn between its start and the end of an unbroken run; then `dvc repro`
finishes. The suite does the same once per stage, without DVC (test_line.py).
"""

import argparse
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

BIN = Path(sys.executable).parent
STAGES = ("base", "dreambooth", "synthesize", "train")


def environment(folder: Path) -> dict[str, str]:
    """For commands in a study: checkpoints are written as often as a tenth of the time allows."""
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
        "SDAUG_CHECKPOINT_SECONDS": os.environ.get("SDAUG_CHECKPOINT_SECONDS", "0.5"),
        "SDAUG_MLFLOW": "off",
    }


def read_lock(folder: Path) -> dict[str, dict[str, Any]]:
    """The stages of a study's dvc.lock by name."""
    stages: dict[str, dict[str, Any]] = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return stages


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process and all that it has started, as a lost power cord does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def start(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        words,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_at_work(folder: Path, stage: str, out: Path, rng: random.Random) -> None:
    """Kill a stage's script a moment after it has begun to keep work beside its output."""
    env = environment(folder) | {"SDAUG_CHECKPOINT_SECONDS": "0"}
    process = start(shlex.split(read_lock(folder)[stage]["cmd"]), folder, env)
    scratch = folder / out.parent / f".{out.name}.partial"
    while process.poll() is None:
        kept = (
            [path for path in scratch.rglob("*") if path.is_file() and path.name != ".key"] if scratch.exists() else []
        )
        if kept:
            time.sleep(rng.uniform(0, 0.05))
            kill_group(process)
            assert process.returncode == -signal.SIGKILL, "the stage was done before it was killed"
            return
        time.sleep(0.001)
    raise AssertionError(f"{stage} ended and had kept nothing: {process.communicate()[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20, help="per stage (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder, rng = args.folder.resolve(), random.Random(args.seed)
    env, wanted = environment(folder), (folder / "dvc.lock").read_bytes()
    names = list(read_lock(folder))
    for stage in STAGES:
        # One of a matrix stage stands for all.
        name = next(name for name in names if name.partition("@")[0] == stage)
        chaos(folder, name, args.kills, rng, env)
        if (folder / "dvc.lock").read_bytes() != wanted:
            sys.exit(f"{name}: dvc.lock differs from that of the unbroken run: `git diff dvc.lock` in {folder}")
    output = subprocess.run(["dvc", "repro"], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout
    is_same = (folder / "dvc.lock").read_bytes() == wanted
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True).stdout
    print(output.strip().splitlines()[-1], f"dvc.lock is {'the same' if is_same else 'ANOTHER ONE'};", end=" ")
    print(f"git status: {changed.strip() or 'clean'}")
    sys.exit(not is_same or bool(changed.strip()))


def chaos(folder: Path, name: str, num_kills: int, rng: random.Random, env: Mapping[str, str]) -> None:
    """Run a stage unbroken for its time, then again and again with a kill, and at last to its end."""
    words = ["dvc", "repro", "--single-item", "--force", name]
    forget(folder, name)
    begin = time.monotonic()
    subprocess.run(words, cwd=folder, env=env, capture_output=True, check=True)
    unbroken = time.monotonic() - begin
    forget(folder, name)
    resumed = num_done = 0
    for _ in range(num_kills):
        moment = rng.uniform(0, unbroken)
        process = start(words, folder, env)
        try:
            said, _ = process.communicate(timeout=moment)
            num_done += 1  # it had less left to do than the moment drawn
            assert process.returncode == 0, said
            forget(folder, name)
        except subprocess.TimeoutExpired:
            kill_group(process)
            assert process.stdout is not None
            said = process.stdout.read()
        resumed += "going on where an earlier run stopped" in said
    begin = time.monotonic()
    last = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stdout + last.stderr
    print(
        f"{name}: {unbroken:.0f} s unbroken; {num_kills - num_done} of {num_kills} starts killed, {num_done} done; "
        f"{resumed} went on from work that was kept; the last one took {time.monotonic() - begin:.0f} s",
        flush=True,
    )


def forget(folder: Path, name: str) -> None:
    """Delete a stage's outputs and DVC's memory of its runs, so that it has to run."""
    for out in read_lock(folder)[name]["outs"]:
        path = folder / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(folder / ".dvc/cache/runs", ignore_errors=True)


if __name__ == "__main__":
    main()
