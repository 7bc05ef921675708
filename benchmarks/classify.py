"""Benchmark of classifier training: ours, the bare model, and a copy of train.py of pytorch-image-models (timm).

All three train the same architectures on the same photos, with the same batches, precision, SGD, flips and number of
threads; the peer (timm) runs with channels last, bf16 where the CPU has it, and worker processes. The bare step is the
plain timm model's forward pass, backward pass and fused SGD on random data. Steps are timed while the three take turns
of a few seconds each. `whole` is a small training run from process start to metrics on disk, in alternating runs;
`warm` is ours as `sdaug grid` starts it, with a server that has already imported the libraries (for another training
run, not timed).

`--accuracy` instead trains ResNet-18 on phantom photos with five seeds and the same recipe, ours and the peer's, and
prints held-out accuracies after the last epoch.

The last line printed is one JSON object with, for each model, medians, and ratios that are medians over rounds:
`step_over_floor` is our median step over the bare one; `images_ratio` (of mean steps, so that the time between epochs
counts), `whole_ratio` and `whole_warm_ratio` are above 1 where we are faster.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from packed_photos import Photos
from results import add_write_option, write_results
from side_by_side import Training, means, median_ratio, medians, take_turns
from warm_stages import link_stages, warm_command, warm_stages

from sdaug.classify.custom import CustomNetwork
from sdaug.classify.inception_head import options_without
from sdaug.classify.params import CUSTOM
from sdaug.common.device import prepare_device
from sdaug.common.params import PrecisionName
from sdaug.common.precision import autocast, resolve_precision
from sdaug.common.sections import read_section

ROOT = Path(__file__).parents[1]
NUM_VALIDATION = 32
ENDLESS = 100_000  # epochs of a run that is killed anyway
PEER_NAME = "peer.py"
# timm's script can only build models by registered name, so our network is registered.
PEER = """
import runpy, sys
from timm.models import register_model
from sdaug.classify.custom import CustomNetwork

@register_model
def sdaug_custom(pretrained=False, num_classes=4, **_):
    return CustomNetwork(num_classes)

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Bench:
    """One model on some photos: the commands of our stage, the peer and the bare model."""

    def __init__(self, photos: Photos, model: str, *, precision: str, batch_size: int, size: int | None = None) -> None:
        self.photos, self.model, self.precision, self.batch_size = photos, model, precision, batch_size
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        entry = self.params["recipe"] | self.params["classifiers"][model]
        entry.pop("seeds", None)  # of the study; here each run has one
        self.entry = entry | {"options": options_without(entry["options"])}  # the peer does not support auxiliary heads
        self.size, self.threads = size or self.entry["image_size"], torch.get_num_threads()
        # The same number of threads on all sides, and no tracker.
        self.environment = {"OMP_NUM_THREADS": str(self.threads), "SDAUG_MLFLOW": "off"}
        # The recipe that both sides share.
        self.knobs = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1.0e-4, "optimizer": "sgd"}

    def ours(self, num_epochs: int, *, seed: int = 0) -> list[str]:
        """The command that runs our stage."""
        # Epochs, because timm's script does not count in steps.
        recipe = self.entry | self.knobs | {"epochs": num_epochs, "steps": None, "batch_size": self.batch_size}
        recipe |= {"image_size": self.size, "schedule": "cosine", "by_dataset": {}}
        arm = {"images": {}, "training": {"flip_horizontal": True}}
        shared = self.params["train"] | {"precision": self.precision, "num_threads": self.threads}
        params = self.params | {"classes": self.photos.classes, "train": shared, "datasets": {"d": arm}}
        params |= {"classifiers": {self.model: recipe}, "seeds": [seed]}
        text = yaml.safe_dump(params, sort_keys=False)
        (self.photos.folder / "params.yaml").write_text(text, encoding="utf-8")
        (self.photos.folder / "unlabelled").mkdir(exist_ok=True)  # no model here is transductive
        words = f"--model {self.model} --dataset d --data packed --unlabelled unlabelled --out ours/model"
        outs = "--metrics ours/metrics --history ours/history"
        return [sys.executable, "stages/train.py", *words.split(), *outs.split()]

    def peer(self, script: Path, num_epochs: int, *, seed: int = 0) -> list[str]:
        """The command that runs the peer, with its best flags for this machine."""
        name = self.entry["architecture"]
        options = [f"{key}={value}" for key, value in self.entry["options"].items()]
        lr, momentum, decay = (str(self.knobs[key]) for key in ("learning_rate", "momentum", "weight_decay"))
        command = [
            *(sys.executable, str(self.photos.folder / PEER_NAME), str(script), "--data-dir", "photos"),
            # Whole runs of ResNet-18 took 11.9 s with one worker, 12.8 with two, 12.1 with none (git show 40d5a7d).
            *("--device", prepare_device().type, "--channels-last", "--workers", "1"),
            *("--model", "sdaug_custom" if name == CUSTOM else name, "--num-classes", str(len(self.photos.classes))),
            *("--img-size", str(self.size), "--input-size", "3", str(self.size), str(self.size)),
            *("--batch-size", str(self.batch_size), "--opt", "sgd", "--lr", lr),
            *("--momentum", momentum, "--weight-decay", decay),
            # A new learning rate at each step, and no augmentation except flips.
            *("--epochs", str(num_epochs), "--sched", "cosine", "--sched-on-updates", "--warmup-epochs", "0"),
            *("--cooldown-epochs", "0", "--scale", "1", "1", "--ratio", "1", "1", "--color-jitter", "0"),
            *("--hflip", "0.5", "--smoothing", "0", "--crop-pct", "1", "--train-interpolation", "bilinear"),
            # The mean and deviation of our models without pretrained weights.
            *("--mean", *["0.5"] * 3, "--std", *["0.25"] * 3, "--seed", str(seed), "--log-interval", "1000000"),
            *("--output", "peer", "--experiment", "run", "--checkpoint-hist", "1"),
        ]
        if options:
            command += ["--model-kwargs", *options]
        return command + (["--amp", "--amp-dtype", "bfloat16"] if self.precision == "bf16" else [])

    def run(self, command: list[str], **environment: str) -> float:
        """The seconds that one command takes."""
        shutil.rmtree(self.photos.folder / "peer", ignore_errors=True)
        begin = time.monotonic()
        result = subprocess.run(
            command,
            cwd=self.photos.folder,
            env=os.environ | self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            sys.exit(f"{' '.join(command)}\n{result.stdout[-1000:]}{result.stderr[-3000:]}")
        return time.monotonic() - begin

    def bare(self) -> list[str]:
        """The command that runs the bare model."""
        numbers = (self.batch_size, self.size, len(self.photos.classes))
        return [
            *(sys.executable, str(Path(__file__).resolve()), "--bare", self.entry["architecture"]),
            *(json.dumps(self.entry["options"]), *map(str, numbers), self.precision),
        ]


def train_bare(
    architecture: str,
    options: dict[str, Any],
    *,
    batch_size: int,
    size: int,
    num_classes: int,
    precision: PrecisionName,
) -> None:
    """Train the plain model on random data until killed: forward pass, backward pass and fused SGD."""
    device = prepare_device()
    if architecture == CUSTOM:
        model: torch.nn.Module = CustomNetwork(num_classes)
    else:
        import timm

        model = timm.create_model(architecture, num_classes=num_classes, **options)
    model.to(device).to(memory_format=torch.channels_last).train()
    images = torch.randn(batch_size, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch_size, device=device) % num_classes
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    while True:
        with autocast(device, resolve_precision(precision, device)):
            loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()


def measure(bench: Bench, script: Path | None, rounds: int, turn_seconds: float) -> dict[str, float]:
    """Medians and ratios of step times of the bare model, ours and the peer, timed in turns."""
    commands = {"bare": bench.bare(), "our": bench.ours(ENDLESS)}
    if script:
        commands["peer"] = bench.peer(script, ENDLESS)
    trainings = {
        # `Training` adds the interpreter itself.
        name: Training(command[1:], cwd=bench.photos.folder, environment=bench.environment)
        for name, command in commands.items()
    }
    steps, _ = take_turns(trainings, num_rounds=rounds, turn_seconds=turn_seconds)
    print(bench.model, {name: [round(value, 1) for value in medians(found)] for name, found in steps.items()})
    result = {f"{name}_step_ms": statistics.median(medians(found)) for name, found in steps.items()}
    result["step_over_floor"] = median_ratio(medians(steps["our"]), medians(steps["bare"]))
    if script:
        result["images_ratio"] = median_ratio(means(steps["peer"]), means(steps["our"]))
    return result


def measure_whole(bench: Bench, script: Path | None, rounds: int, num_epochs: int) -> dict[str, float]:
    """Medians and ratios of a small training run, from process start to metrics on disk."""
    seconds: dict[str, list[float]] = {"our": [], "our_warm": []} | ({"peer": []} if script else {})
    with warm_stages(bench.photos.folder, "train") as warm:
        bench.run(warm_command(bench.ours(1), warm), **warm)  # makes the server import the libraries
        # In turns: a machine that others share changes its speed by the hour.
        for _ in range(rounds):
            seconds["our"].append(bench.run(bench.ours(num_epochs)))
            seconds["our_warm"].append(bench.run(warm_command(bench.ours(num_epochs), warm), **warm))
            if script:
                seconds["peer"].append(bench.run(bench.peer(script, num_epochs)))
    print(bench.model, {f"{name}_whole_s": values for name, values in seconds.items()}, flush=True)
    result = {f"{name}_whole_s": statistics.median(values) for name, values in seconds.items()}
    if script:
        result["whole_ratio"] = median_ratio(seconds["peer"], seconds["our"])
        result["whole_warm_ratio"] = median_ratio(seconds["peer"], seconds["our_warm"])
    return result


def compare_accuracy(bench: Bench, script: Path, num_seeds: int, num_epochs: int) -> dict[str, Any]:
    """The last epoch's accuracy on held-out photos, in percent, for each seed of both sides, with mean and std."""
    found: dict[str, list[float]] = {"our_accuracy": [], "peer_accuracy": []}
    for seed in range(num_seeds):
        bench.run(bench.ours(num_epochs, seed=seed))
        with (bench.photos.folder / "ours" / "history" / f"{seed}.csv").open() as stream:
            # Ours is a fraction, timm's a percentage.
            found["our_accuracy"].append(100 * float(list(csv.DictReader(stream))[-1]["validation_accuracy"]))
        bench.run(bench.peer(script, num_epochs, seed=seed))
        with (bench.photos.folder / "peer" / "run" / "summary.csv").open() as stream:
            found["peer_accuracy"].append(float(list(csv.DictReader(stream))[-1]["eval_top1"]))
        print({name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    means = {f"{name}_mean": round(float(np.mean(values)), 2) for name, values in found.items()}
    spreads = {f"{name}_std": round(float(np.std(values, ddof=1)), 2) for name, values in found.items()}
    return {**found, **means, **spreads}


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        # Started by `measure`, which kills it.
        architecture, options, batch_size, size, num_classes, name = sys.argv[2:]
        train_bare(
            architecture,
            json.loads(options),
            batch_size=int(batch_size),
            size=int(size),
            num_classes=int(num_classes),
            precision=name,
        )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="copy of timm's train.py (default: only ours and the bare model)")
    parser.add_argument("--models", nargs="+", help="keys of classifiers in params.yaml (default: all)")
    parser.add_argument("--rounds", type=int, default=15, help="number of turns per side")
    parser.add_argument("--turn-seconds", type=float, default=4.0)
    parser.add_argument("--whole-rounds", type=int, default=3, help="number of whole runs per side; 0 for none")
    parser.add_argument("--whole-epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--images", type=int, default=256, help="number of training photos")
    parser.add_argument("--size", type=int, help="image size in pixels for all models (default: from params.yaml)")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--accuracy", type=int, metavar="EPOCHS", help="compare accuracy over five seeds instead")
    add_write_option(parser)
    args = parser.parse_args()
    # Resolved here, since both sides must run in the same precision.
    dtype = resolve_precision(args.precision, prepare_device())
    precision = "bf16" if dtype == torch.bfloat16 else "fp32"
    script = args.peer.resolve() if args.peer else None

    # Measure one model after another on the same photos.
    result: dict[str, Any] = {"precision": precision, "threads": torch.get_num_threads()}
    name, figures = "classify", dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        # Of 400 photos, one is a quarter of a point of accuracy.
        num_held_out = 400 if args.accuracy else NUM_VALIDATION
        photos = Photos(Path(folder), num_train=args.images, num_validation=num_held_out, size_pixels=64)
        link_stages(photos.folder)
        (photos.folder / PEER_NAME).write_text(PEER)
        if args.accuracy:
            if script is None:
                sys.exit("--accuracy needs --peer")
            bench = Bench(photos, "resnet18", precision=precision, batch_size=args.batch_size, size=args.size or 64)
            result |= (found := compare_accuracy(bench, script, 5, args.accuracy))
            name, case = "classify --accuracy", f"resnet18, {precision}, {args.accuracy} epochs"
            figures = {case: {key: value for key, value in found.items() if not isinstance(value, list)}}
        else:
            for model in args.models or read_section(ROOT / "params.yaml", "classifiers", dict[str, Any]):
                bench = Bench(photos, model, precision=precision, batch_size=args.batch_size, size=args.size)
                found = measure(bench, script, args.rounds, args.turn_seconds)
                if args.whole_rounds:
                    found |= measure_whole(bench, script, args.whole_rounds, args.whole_epochs)
                result[model] = {key: round(value, 3) for key, value in found.items()}
                figures[f"{model}, {precision}"] = result[model]
    if args.write:
        write_results(name, figures)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
