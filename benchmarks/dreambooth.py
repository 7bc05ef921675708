"""Benchmark of DreamBooth: ours, the bare UNet, and a copy of diffusers' examples/dreambooth/train_dreambooth.py.

With `--method lora`, give a copy of train_dreambooth_lora.py instead. `--base 1.5 --size 512` trains Stable Diffusion
at its full size with random weights, which needs a GPU.

All three train the same pipeline on the same photos with the same prior preservation, learning rate and precision; the
peer (diffusers) encodes its prompts beforehand (`--pre_compute_text_embeddings`). Steps are timed while the three take
turns of a few seconds each. `whole` is three classes with their class images, one after the other, from process start
to weights on disk, in alternating runs. Both draw class images in 50 steps with guidance 7.5, which the peer has no
flags for; ours draws them once, the peer once per class, or only once with `--share-class-images`. Ours runs each stage
as `dvc repro` does and, for `warm`, as `sdaug grid` does; the start of its server, which imports the libraries once, is
included. Neither side logs to a tracker. A profile of our steps is printed as well.

The last line printed is one JSON object with medians, and ratios that are medians over rounds. Ratios above 1 are in
our favour, except `step_over_floor`, our step time over the bare UNet's, and `memory_ratio`, our peak memory over the
peer's (GPU memory, if there is a GPU).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from bases import SMALL, VERSIONS, build_base
from results import add_write_option, write_results
from side_by_side import Training, median_ratio, medians, take_turns
from warm_stages import link_stages, warm_command, warm_stages

from sdaug.common.device import prepare_device
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.params import PrecisionName
from sdaug.common.precision import autocast, name_precision, resolve_precision
from sdaug.common.sections import read_section
from sdaug.diffusion.conditioning import encode_prompts
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.dreambooth.adapters import adapt
from sdaug.dreambooth.params import DreamBoothParams

ROOT = Path(__file__).parents[1]
QUIET = {"SDAUG_MLFLOW": "off"}
LABELS = ("score_1", "score_3", "score_4")
NUM_PHOTOS = 24
SAMPLE_BATCH_SIZE = 25  # of class images, for both sides; fewer images are one batch
ENDLESS = 1_000_000  # steps of a run that is killed anyway


class Study:
    """A folder with a base, photos of three classes and params for one batch size."""

    def __init__(self, folder: Path, *, batch_size: int, precision: str, args: argparse.Namespace) -> None:
        self.folder, self.batch_size, self.precision = folder, batch_size, precision
        self.is_shared, self.method = args.share_class_images, args.method
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        self.size_pixels = self.params["prepare"]["size_pixels"] = args.size or self.params["prepare"]["size_pixels"]
        self.params["generator_seeds"] = [0]
        self.prompt = self.params["class_images"]["prompt"]
        # The same base, photos and stages for all sides.
        save_pipeline(build_base(args.base), folder / "base")
        self._write_photos()
        link_stages(folder)
        # The script draws class images in 50 steps with guidance 7.5, whatever its flags.
        self.params["class_images"] |= {
            "num_images": args.class_images,
            "drawing": self.params["class_images"]["drawing"]
            | {
                "guidance_scale": 7.5,
                "inference_steps": 50,
                "batch_size": min(SAMPLE_BATCH_SIZE, args.class_images),
                "precision": precision,
            },
        }
        # Nothing that the script does not do.
        self.params["dreambooth"] |= {
            "method": self.method,
            "batch_size": batch_size,
            "ema_decay": None,  # the peer has no moving average
            "flip_horizontal": False,
            "precision": precision,
            "preview_steps": 0,
            "num_preview_images": 0,
            "warmup_steps": 0,
        }

    def _write_photos(self) -> None:
        # Random pixels, since only time and memory are measured.
        rng, photos = np.random.default_rng(0), []
        (self.folder / "prepared" / "images").mkdir(parents=True)
        for label in LABELS:
            (self.folder / "instances" / label).mkdir(parents=True)
            for index in range(NUM_PHOTOS):
                pixels = rng.integers(0, 256, (self.size_pixels, self.size_pixels, 3), dtype=np.uint8)
                photo = Photo(id=f"{label}-{index}", label=label, group=str(index), split="train", fold=1, sha256="")
                photos.append(photo)
                save_png(self.folder / "prepared" / "images" / photo.file_name, pixels)
                save_png(self.folder / "instances" / label / photo.file_name, pixels)
        # A clean study is refused without a photo in its validation fold, 0; this one is never read.
        absent = Photo(id="z", label=LABELS[0], group="z", split="train", fold=0, sha256="")
        write_manifest(self.folder / "prepared" / "manifest.csv", [*photos, absent])

    def ours(self, label: str, num_steps: int) -> list[str]:
        """The command that runs our stage; its class images must exist."""
        self.params["dreambooth"]["training_steps"] = num_steps
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False), encoding="utf-8")
        words = f"--class {label} --base base --class-images class_images --prepared prepared"
        out = f"--out ours/{label} --history ours/{label}.csv"
        return [sys.executable, "stages/dreambooth.py", *words.split(), *out.split()]

    def bare(self) -> list[str]:
        """The command that runs the bare UNet."""
        return [
            *(sys.executable, str(Path(__file__).resolve()), "--bare", "base", self.prompt),
            *(str(self.batch_size), str(self.size_pixels), self.precision, self.method),
        ]

    def our_class_images(self) -> list[str]:
        # Writes params.yaml, which this stage reads too.
        self.ours(LABELS[0], 1)
        return [sys.executable, "stages/class_images.py", "--base", "base", "--out", "class_images"]

    def peer(self, script: Path, label: str, num_steps: int) -> list[str]:
        """The command that runs the peer, with its best flags; it draws class images if there are none."""
        knobs = self.params["dreambooth"]
        class_images = "peer/class_images" if self.is_shared else f"peer/class_images_{label}"
        return [
            *(sys.executable, str(script), "--pretrained_model_name_or_path", "base", "--output_dir", f"peer/{label}"),
            *("--instance_data_dir", f"instances/{label}", "--class_data_dir", class_images),
            *("--instance_prompt", self.params["concepts"][label]["instance_prompt"], "--class_prompt", self.prompt),
            *("--with_prior_preservation", "--prior_loss_weight", str(knobs["prior_loss_weight"])),
            *("--num_class_images", str(self.params["class_images"]["num_images"])),
            *("--sample_batch_size", str(self.params["class_images"]["drawing"]["batch_size"])),
            *("--resolution", str(self.size_pixels), "--train_batch_size", str(self.batch_size)),
            # No checkpoint on the way, as on our side.
            *("--max_train_steps", str(num_steps), "--checkpointing_steps", "1000000", "--seed", "0"),
            *("--learning_rate", str(knobs["learning_rate"]), "--lr_scheduler", "constant", "--lr_warmup_steps", "0"),
            *("--mixed_precision", {"fp32": "no"}.get(self.precision, self.precision)),
            "--pre_compute_text_embeddings",
            *(("--rank", str(knobs["lora_rank"])) if self.method == "lora" else ("--set_grads_to_none",)),
        ]

    def run(self, command: list[str], **environment: str) -> float:
        """The seconds that one command takes; its output is kept in `output`."""
        begin = time.monotonic()
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | QUIET | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output = result.stdout
        if result.returncode:
            sys.exit(f"{' '.join(command)}\n{self.output[-3000:]}")
        return time.monotonic() - begin


def train_bare(
    folder: Path, prompt: str, *, batch_size: int, size_pixels: int, precision: PrecisionName, method: str
) -> None:
    """Train the UNet alone until killed: forward pass, backward pass, clipping, fused AdamW; nothing is encoded."""
    device = prepare_device()
    pipeline = load_pipeline(folder, device)
    params = replace(read_section(ROOT / "params.yaml", "dreambooth", DreamBoothParams), method=method)
    weights = adapt(pipeline, params, resolve_precision(precision, device), seed=0)
    unet = pipeline.unet.train()
    # A batch has as many class images as instance images.
    side, num_images = size_pixels // pipeline.vae_scale_factor, 2 * batch_size
    noisy = torch.randn(num_images, unet.config.in_channels, side, side, device=device)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    timesteps = torch.randint(1000, (num_images,), device=device)
    (encoded,) = encode_prompts(pipeline, [prompt], height=size_pixels, width=size_pixels)
    prompts = encoded.tokens.expand(num_images, -1, -1)
    optimizer = torch.optim.AdamW(weights, lr=1.0e-6, fused=True)
    while True:
        with autocast(device, resolve_precision(precision, device)):
            loss = unet(noisy, timesteps, encoder_hidden_states=prompts).sample.float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def measure(study: Study, script: Path | None, rounds: int, turn_seconds: float) -> dict[str, float]:
    """Medians and ratios of step times of the bare UNet, ours and the peer, timed in turns."""
    study.run(study.our_class_images())
    commands = {"bare": study.bare(), "our": study.ours(LABELS[0], ENDLESS)}
    if script:
        study.run(study.peer(script, LABELS[0], 1))  # draws the class images beforehand
        commands["peer"] = study.peer(script, LABELS[0], ENDLESS)
    trainings = {name: Training(command[1:], cwd=study.folder, environment=QUIET) for name, command in commands.items()}
    steps, memory = take_turns(trainings, num_rounds=rounds, turn_seconds=turn_seconds)
    by_round = {name: medians(found) for name, found in steps.items()}
    result = {f"{name}_step_ms": statistics.median(values) for name, values in by_round.items()}
    result |= {f"{name}_memory_mib": value for name, value in memory.items() if name != "bare"}
    result["step_over_floor"] = median_ratio(by_round["our"], by_round["bare"])
    if script:
        result["steps_ratio"] = median_ratio(by_round["peer"], by_round["our"])
        result["memory_ratio"] = memory["our"] / memory["peer"]
    print({name: [round(value, 1) for value in values] for name, values in by_round.items()}, flush=True)
    return result


def measure_whole(study: Study, script: Path | None, rounds: int, num_steps: int) -> dict[str, float]:
    """Medians and ratios of three classes with their class images, from process start to weights on disk."""
    seconds: dict[str, list[float]] = {"our": [], "our_warm": []} | ({"peer": []} if script else {})
    for _ in range(rounds):
        seconds["our"].append(sum(map(study.run, our_commands(study, num_steps))))
        # A new server in each round, so that its imports are part of each time.
        begin = time.monotonic()
        with warm_stages(study.folder, "class_images", "dreambooth") as warm:
            for command in our_commands(study, num_steps):
                study.run(warm_command(command, warm), **warm)
            seconds["our_warm"].append(time.monotonic() - begin)
        if script:
            # Or the script would find the class images of the round before.
            shutil.rmtree(study.folder / "peer", ignore_errors=True)
            seconds["peer"].append(sum(study.run(study.peer(script, label, num_steps)) for label in LABELS))
        print({f"{name}_whole_s": values for name, values in seconds.items()}, flush=True)
    result = {f"{name}_whole_s": statistics.median(values) for name, values in seconds.items()}
    if script:
        result["whole_ratio"] = median_ratio(seconds["peer"], seconds["our"])
        result["whole_warm_ratio"] = median_ratio(seconds["peer"], seconds["our_warm"])
    return result


def our_commands(study: Study, num_steps: int) -> Iterator[list[str]]:
    """The commands of our stages for three classes."""
    yield study.our_class_images()
    yield from (study.ours(label, num_steps) for label in LABELS)


def profile(study: Study) -> None:
    """Print a profile of our steps."""
    command = study.ours(LABELS[0], 20)
    code = "import sys, runpy; from torch.profiler import profile as p\n"
    code += "sys.argv = sys.argv[1:]\nwith p() as found: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    code += "print(found.key_averages().table(sort_by='self_cpu_time_total', row_limit=15, max_name_column_width=48))"
    study.run([command[0], "-c", code, *command[1:]])
    print(study.output)


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        # Started by `measure`, which kills it.
        folder, prompt, batch_size, size_pixels, name, method = sys.argv[2:]
        sizes = {"batch_size": int(batch_size), "size_pixels": int(size_pixels)}
        train_bare(Path(folder), prompt, **sizes, precision=name, method=method)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="copy of train_dreambooth.py (default: only ours and the bare UNet)")
    parser.add_argument("--base", default=SMALL, choices=(SMALL, *VERSIONS), help="Stable Diffusion to train")
    parser.add_argument("--size", type=int, help="image size in pixels (default: from params.yaml)")
    parser.add_argument("--method", default="full", choices=("full", "lora"))
    parser.add_argument("--rounds", type=int, default=11, help="number of turns per side")
    parser.add_argument("--turn-seconds", type=float, default=4.0)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--whole-steps", type=int, default=100, help="steps per class in `whole`; 0 skips it")
    parser.add_argument("--class-images", type=int, default=100, help="number of class images")
    parser.add_argument("--share-class-images", action="store_true", help="let the peer draw them once for all classes")
    parser.add_argument("--whole-rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--no-profile", dest="profile", action="store_false", help="skip the profile of our steps")
    add_write_option(parser)
    args = parser.parse_args()
    # One precision for all sides, resolved here because the script has no `auto`.
    precision = name_precision(resolve_precision(args.precision, prepare_device()))
    script = args.peer.resolve() if args.peer else None

    # Measure one batch size after another.
    result: dict[str, Any] = {"precision": precision, "threads": torch.get_num_threads()}
    for batch_size in args.batch_sizes:
        with tempfile.TemporaryDirectory() as folder:
            study = Study(Path(folder), batch_size=batch_size, precision=precision, args=args)
            found = measure(study, script, args.rounds, args.turn_seconds)
            if args.whole_steps:
                found |= measure_whole(study, script, args.whole_rounds, args.whole_steps)
            result |= {f"{name}_{batch_size}": round(value, 3) for name, value in found.items()}
            if args.write:
                case = f"{args.base}, {args.method}, {batch_size}+{batch_size}, {precision}"
                write_results("dreambooth", {case: found})
            if args.profile:
                profile(study)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
