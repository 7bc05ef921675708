"""Benchmark of training runs one after another, as `dvc repro` starts them, and several at once, as `sdaug grid` does.

Trains the classifiers of params.yaml named by `--models` on the packed data set `original` of this checkout (made by
`dvc repro split`), which is left unchanged. In each round the training runs are first started one after another, each
in its own process, then `--jobs` at a time, forked by a server whose start is included; DVC's own work is in neither.
The last line printed is one JSON object: seconds of both, and `serial_ratio` (parallel over serial), the median over
rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from side_by_side import median_ratio
from warm_stages import ROOT, warm_command, warm_stages

from sdaug.run.grid import run_jobs, share_devices


def train(training: tuple[str, int], environment: dict[str, str], out: Path) -> None:
    """Run one training stage, with these variables added to its environment."""
    model, seed = training
    name = f"{model}-{seed}-{time.monotonic_ns()}"
    words = f"--model {model} --dataset original --seed {seed} --data data/packed/original --out {out / name}"
    files = f"--metrics {out / name}.json --history {out / name}.csv"
    command = [sys.executable, "stages/train.py", *words.split(), *files.split()]
    # The server's variables; without them the stage starts cold.
    if "SHELL" in environment:
        command = warm_command(command, environment)
    quiet = {"SDAUG_MLFLOW": "off"}
    subprocess.run(command, cwd=ROOT, env=os.environ | quiet | environment, check=True, stderr=subprocess.DEVNULL)


def run_serially(trainings: list[tuple[str, int]]) -> float:
    """The seconds that all training runs take one after another."""
    with tempfile.TemporaryDirectory() as out:
        begin = time.monotonic()
        for training in trainings:
            train(training, {}, Path(out))
        return time.monotonic() - begin


def run_side_by_side(trainings: list[tuple[str, int]], num_jobs: int) -> float:
    """The seconds that all training runs take with `num_jobs` at once."""
    with tempfile.TemporaryDirectory() as out:
        begin = time.monotonic()
        # No GPUs: with one, `sdaug grid` starts no server.
        devices = share_devices(num_jobs, gpus=())
        with warm_stages(ROOT, "train", environment=devices[0]) as warm:
            run_jobs(partial(train, out=Path(out)), trainings, [device | warm for device in devices])
        return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["custom", "resnet18"])
    parser.add_argument("--trainings", type=int, default=4, help="training runs per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    # Both in turns, with other seeds in each round.
    serial, parallel = [], []
    for number in range(args.rounds):
        trainings = [(args.models[k % len(args.models)], number * args.trainings + k) for k in range(args.trainings)]
        serial.append(run_serially(trainings))
        parallel.append(run_side_by_side(trainings, args.jobs))
        print({"serial_s": round(serial[-1], 1), "parallel_s": round(parallel[-1], 1)}, flush=True)
    # Report.
    result = {"jobs": args.jobs, "serial_s": statistics.median(serial), "parallel_s": statistics.median(parallel)}
    result["serial_ratio"] = median_ratio(parallel, serial)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
