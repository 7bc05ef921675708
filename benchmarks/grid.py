"""Trainings one after another and several at once, as `sdaug grid` runs them.

Trains the classifiers of params.yaml named by `--models` on the packed data set `original` of this folder (`dvc repro
split` makes it); nothing here is changed. In each round every training runs alone, then all of them `--jobs` at a time.
The last line printed is one JSON object: seconds of both, and `serial_ratio`, the median over rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from side_by_side import median_ratio

from sdaug.grid import share_devices

ROOT = Path(__file__).parents[1]


def train(model: str, seed: int, out: Path, environment: dict[str, str]) -> None:
    """One training, as the stage runs it."""
    name = f"{model}-{seed}-{time.monotonic_ns()}"
    words = f"--model {model} --dataset original --seed {seed} --data data/packed/original --out {out / name}"
    files = f"--metrics {out / name}.json --history {out / name}.csv"
    command = [sys.executable, "stages/train.py", *words.split(), *files.split()]
    quiet = {"SDAUG_MLFLOW": "off"}
    subprocess.run(command, cwd=ROOT, env=os.environ | quiet | environment, check=True, stderr=subprocess.DEVNULL)


def run_all(trainings: list[tuple[str, int]], num_jobs: int) -> float:
    """Seconds of all trainings, so many at once."""
    seats = Queue[dict[str, str]]()
    for environment in share_devices(num_jobs, gpus=()):
        seats.put(environment)
    with tempfile.TemporaryDirectory() as out:

        def take_seat(training: tuple[str, int]) -> None:
            environment = seats.get()
            try:
                train(*training, Path(out), environment)
            finally:
                seats.put(environment)

        begin = time.monotonic()
        with ThreadPoolExecutor(num_jobs) as pool:
            list(pool.map(take_seat, trainings))
        return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["custom", "resnet18"])
    parser.add_argument("--trainings", type=int, default=4, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    serial, parallel = [], []
    for number in range(args.rounds):
        trainings = [(args.models[k % len(args.models)], number * args.trainings + k) for k in range(args.trainings)]
        serial.append(run_all(trainings, 1))
        parallel.append(run_all(trainings, args.jobs))
        print({"serial_s": round(serial[-1], 1), "parallel_s": round(parallel[-1], 1)}, flush=True)
    result = {"jobs": args.jobs, "serial_s": statistics.median(serial), "parallel_s": statistics.median(parallel)}
    result["serial_ratio"] = median_ratio(parallel, serial)
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
