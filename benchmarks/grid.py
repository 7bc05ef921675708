"""Benchmark of training runs one after another, as `dvc repro` starts them, and several at once, as `sdaug grid` does.

Trains the classifiers of params.yaml named by `--models` on the packed data set `original` of this checkout (made by
`dvc repro split`), which is left unchanged, or on `--photos` simulated photos. In each round the training runs are
first started one after another, each in its own process, then `--jobs` at a time, forked by a server whose start is
included; DVC's own work is in neither. The last line printed is one JSON object: seconds of both, and `serial_ratio`
(parallel over serial), the median over rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packed_photos import Photos
from results import add_write_option, write_results
from side_by_side import median_ratio
from warm_stages import ROOT, warm_command, warm_stages

from sdaug.run.chains import run_jobs
from sdaug.run.grid import share_devices


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all training runs share: settings, packed photos and a folder to write to."""

    params: dict[str, Any]
    data: Path
    folder: Path

    def train(self, training: tuple[str, int], environment: dict[str, str]) -> None:
        """Run the stage for one model and seed, with these variables added to its environment."""
        model, seed = training
        out = self.folder / f"{model}-{seed}-{time.monotonic_ns()}"
        (out / "unlabelled").mkdir(parents=True)  # no model here is transductive
        entry = {key: value for key, value in self.params["classifiers"][model].items() if key != "seeds"}
        params = self.params | {"classifiers": {model: entry}, "seeds": [seed]}
        (out / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        words = f"--params {out}/params.yaml --model {model} --dataset original"
        folders = f"--data {self.data} --unlabelled {out}/unlabelled"
        files = f"--out {out}/model --metrics {out}/metrics --history {out}/history"
        command = [sys.executable, "stages/train.py", *f"{words} {folders} {files}".split()]
        # The server's variables; without them the stage starts cold.
        if "SHELL" in environment:
            command = warm_command(command, environment)
        quiet = {"SDAUG_MLFLOW": "off"}
        subprocess.run(command, cwd=ROOT, env=os.environ | quiet | environment, check=True, stderr=subprocess.DEVNULL)


def run_serially(study: Study, trainings: list[tuple[str, int]]) -> float:
    """The seconds that all training runs take one after another."""
    begin = time.monotonic()
    for training in trainings:
        study.train(training, {})
    return time.monotonic() - begin


def run_side_by_side(study: Study, trainings: list[tuple[str, int]], num_jobs: int) -> float:
    """The seconds that all training runs take with `num_jobs` at once."""
    begin = time.monotonic()
    # No GPUs: with one, `sdaug grid` starts no server.
    devices = share_devices(num_jobs, gpus=())
    with warm_stages(ROOT, "train", environment=devices[0]) as warm:
        run_jobs(study.train, trainings, [device | warm for device in devices])
    return time.monotonic() - begin


def make_study(folder: Path, *, num_photos: int | None, num_steps: int | None) -> Study:
    """The study of this checkout, or one of simulated photos, with other steps for all models if so wanted."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    if num_steps:
        for entry in params["classifiers"].values():
            entry["steps"] = num_steps
    data = ROOT / "data" / "packed" / "original"
    if num_photos:
        Photos(folder, num_train=num_photos, num_validation=num_photos // 4, size_pixels=64)
        data = folder / "packed"
    return Study(params=params, data=data, folder=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["custom", "resnet18"])
    parser.add_argument("--trainings", type=int, default=4, help="training runs per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--photos", type=int, help="number of simulated photos (default: those of this checkout)")
    parser.add_argument("--steps", type=int, help="steps per training run (default: those of params.yaml)")
    add_write_option(parser)
    args = parser.parse_args()
    # Both in turns, with other seeds in each round.
    serial, parallel = [], []
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), num_photos=args.photos, num_steps=args.steps)
        for number in range(args.rounds):
            seeds = range(number * args.trainings, (number + 1) * args.trainings)
            trainings = [(args.models[seed % len(args.models)], seed) for seed in seeds]
            serial.append(run_serially(study, trainings))
            parallel.append(run_side_by_side(study, trainings, args.jobs))
            print({"serial_s": round(serial[-1], 1), "parallel_s": round(parallel[-1], 1)}, flush=True)
    # Report.
    found = {"serial_s": statistics.median(serial), "parallel_s": statistics.median(parallel)}
    found["serial_ratio"] = median_ratio(parallel, serial)
    if args.write:
        case = f"{' '.join(args.models)}, {args.trainings} training runs, {args.jobs} jobs"
        write_results("grid", {case: found})
    print(json.dumps({"jobs": args.jobs, **{name: round(value, 3) for name, value in found.items()}}))


if __name__ == "__main__":
    main()
