"""DreamBooth side by side: ours, the bare UNet, and a copy of diffusers' examples/dreambooth/train_dreambooth.py.

All train the same small pipeline on the same photos with the same prior preservation, learning rate and precision;
the peer encodes its prompts beforehand (`--pre_compute_text_embeddings`) and draws its class images once for all
classes. A step's time is the median between two calls of the optimizer, within each process. `whole` is three classes
with their class images, from process start to weights on disk, as `sdaug grid` runs them on a CPU: one after the other.

Runs alternate; the last line printed is one JSON object with medians and ratios, where over 1 is in our favour except
for `step_over_floor`, our time for a step over the bare UNet's, and `memory_ratio`, our peak over the peer's.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sdaug.device import prepare_device
from sdaug.diffusion.base_params import BaseParams
from sdaug.diffusion.denoising import encode_prompts
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.tiny import build_tiny
from sdaug.images import save_png
from sdaug.manifest import Photo, write_manifest
from sdaug.params import read_section
from sdaug.precision import autocast, resolve_precision

ROOT = Path(__file__).parents[1]
LABELS = ("score_1", "score_3", "score_4")
NUM_PHOTOS = 24
WARM_UP_STEPS = 10
TIMED = """
import atexit, json, pathlib, runpy, sys, time
from torch.optim.optimizer import register_optimizer_step_post_hook
moments = []
register_optimizer_step_post_hook(lambda *_: moments.append(time.monotonic()))
atexit.register(lambda: pathlib.Path("moments.json").write_text(json.dumps(moments)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Study:
    """A folder with a base, photos of three classes and the params of one batch size."""

    def __init__(self, folder: Path, *, batch_size: int, precision: str) -> None:
        self.folder, self.batch_size, self.precision = folder, batch_size, precision
        base = read_section(ROOT / "params.yaml", "base", BaseParams)
        self.params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        self.size_pixels = self.params["prepare"]["size_pixels"]
        self.prompt = self.params["class_images"]["prompt"]
        save_pipeline(build_tiny(base, size_pixels=self.size_pixels), folder / "base")
        self._write_photos()
        self.params["class_images"] |= {"precision": precision}
        self.params["dreambooth"] |= {
            "batch_size": batch_size,
            "flip_horizontal": False,
            "precision": precision,
            "preview_steps": 0,
            "num_preview_images": 0,
            "warmup_steps": 0,
        }

    def _write_photos(self) -> None:
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
        absent = Photo(id="z", label=LABELS[0], group="z", split="train", fold=0, sha256="")
        write_manifest(self.folder / "prepared" / "manifest.csv", [*photos, absent])

    def ours(self, label: str, num_steps: int) -> list[str]:
        """The command of our stage; its class images are there already."""
        self.params["dreambooth"]["training_steps"] = num_steps
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.params, sort_keys=False), encoding="utf-8")
        words = f"--class {label} --base base --class-images class_images --prepared prepared"
        out = f"--out ours/{label} --history ours/{label}.csv"
        return [sys.executable, str(ROOT / "stages" / "dreambooth.py"), *words.split(), *out.split()]

    def our_class_images(self) -> list[str]:
        self.ours(LABELS[0], 1)
        return [sys.executable, str(ROOT / "stages" / "class_images.py"), "--base", "base", "--out", "class_images"]

    def peer(self, script: Path, label: str, num_steps: int) -> list[str]:
        """The peer's command, with its best flags; it draws class images if there are none."""
        knobs = self.params["dreambooth"]
        return [
            *(sys.executable, str(script), "--pretrained_model_name_or_path", "base", "--output_dir", f"peer/{label}"),
            *("--instance_data_dir", f"instances/{label}", "--class_data_dir", "peer/class_images"),
            *("--instance_prompt", self.params["concepts"][label]["instance_prompt"], "--class_prompt", self.prompt),
            *("--with_prior_preservation", "--prior_loss_weight", str(knobs["prior_loss_weight"])),
            *("--num_class_images", str(self.params["class_images"]["num_images"]), "--sample_batch_size", "16"),
            *("--resolution", str(self.size_pixels), "--train_batch_size", str(self.batch_size)),
            *("--max_train_steps", str(num_steps), "--checkpointing_steps", "1000000", "--seed", "0"),
            *("--learning_rate", str(knobs["learning_rate"]), "--lr_scheduler", "constant", "--lr_warmup_steps", "0"),
            *("--mixed_precision", {"fp32": "no"}.get(self.precision, self.precision)),
            *("--pre_compute_text_embeddings", "--set_grads_to_none"),
        ]

    def run(self, command: list[str]) -> tuple[float, float]:
        """Seconds and peak memory in MiB of one command."""
        begin = time.monotonic()
        log = self.folder / "log.txt"
        with log.open("w") as stream:
            process = subprocess.Popen(command, cwd=self.folder, stdout=stream, stderr=stream)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.output = log.read_text()
        if process.returncode:
            sys.exit(f"{' '.join(command)}\n{self.output[-3000:]}")
        return time.monotonic() - begin, usage.ru_maxrss / 1024

    def run_timed(self, command: list[str]) -> tuple[float, float]:
        """The median step in milliseconds and the peak memory in MiB of one command."""
        memory = self.run([command[0], "-c", TIMED, *command[1:]])[1]
        moments = json.loads((self.folder / "moments.json").read_text())
        return 1000 * statistics.median(np.diff(moments[WARM_UP_STEPS:])), memory

    def bare_step(self, num_steps: int) -> float:
        """Seconds of the bare UNet's step: forward, backward, clipping, fused AdamW; nothing is drawn or encoded."""
        device = prepare_device()
        pipeline = load_pipeline(self.folder / "base", device)
        unet = pipeline.unet.train().to(memory_format=torch.channels_last)
        side, num_images = self.size_pixels // pipeline.vae_scale_factor, 2 * self.batch_size
        noisy = torch.randn(num_images, unet.config.in_channels, side, side, device=device)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        timesteps = torch.randint(1000, (num_images,), device=device)
        prompts = encode_prompts(pipeline, [self.prompt])[0].expand(num_images, -1, -1)
        optimizer = torch.optim.AdamW(unet.parameters(), lr=1.0e-6, fused=True)
        seconds = []
        for _ in range(num_steps):
            begin = time.monotonic()
            with autocast(device, resolve_precision(self.precision, device)):
                loss = unet(noisy, timesteps, encoder_hidden_states=prompts).sample.float().square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.monotonic() - begin)
        return statistics.median(seconds)


def measure(study: Study, script: Path | None, rounds: int, num_steps: int) -> dict[str, float]:
    """Medians over rounds, in which the bare UNet, ours and the peer alternate."""
    found: dict[str, list[float]] = {}
    study.run(study.our_class_images())
    if script:
        study.run(study.peer(script, LABELS[0], 1))  # class images, once
    for _ in range(rounds):
        values = {"bare_step_ms": 1000 * study.bare_step(num_steps)}
        values["our_step_ms"], values["our_memory_mib"] = study.run_timed(study.ours(LABELS[0], num_steps))
        if script:
            timed = study.run_timed(study.peer(script, LABELS[0], num_steps))
            values["peer_step_ms"], values["peer_memory_mib"] = timed
        note(found, values)
    return {name: statistics.median(values) for name, values in found.items()}


def measure_whole(study: Study, script: Path | None, rounds: int, num_steps: int) -> dict[str, float]:
    """Three classes with their class images, from process start to weights on disk."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds = study.run(study.our_class_images())[0]
        seconds += sum(study.run(study.ours(label, num_steps))[0] for label in LABELS)
        values = {"our_whole_s": seconds}
        if script:
            shutil.rmtree(study.folder / "peer", ignore_errors=True)
            values["peer_whole_s"] = sum(study.run(study.peer(script, label, num_steps))[0] for label in LABELS)
        note(found, values)
    return {name: statistics.median(values) for name, values in found.items()}


def note(found: dict[str, list[float]], values: dict[str, float]) -> None:
    """Add a round's figures and show them."""
    for name, value in values.items():
        found.setdefault(name, []).append(value)
    print({name: round(value, 1) for name, value in values.items()}, flush=True)


def profile(study: Study) -> None:
    """Where the time of our steps goes."""
    command = study.ours(LABELS[0], 20)
    code = "import sys, runpy; from torch.profiler import profile as p\n"
    code += "sys.argv = sys.argv[1:]\nwith p() as found: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    code += "print(found.key_averages().table(sort_by='self_cpu_time_total', row_limit=15, max_name_column_width=48))"
    study.run([command[0], "-c", code, *command[1:]])
    print(study.output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="a copy of train_dreambooth.py; without it, ours and the bare UNet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=80, help="of a timed run")
    parser.add_argument("--whole-steps", type=int, default=100, help="steps a class in the whole; 0 to leave it out")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    kind = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    precision = kind[resolve_precision(args.precision, prepare_device())]

    result: dict[str, Any] = {"precision": precision, "threads": torch.get_num_threads()}
    for batch_size in args.batch_sizes:
        with tempfile.TemporaryDirectory() as folder:
            study = Study(Path(folder), batch_size=batch_size, precision=precision)
            medians = measure(study, args.peer, args.rounds, args.steps)
            medians["step_over_floor"] = medians["our_step_ms"] / medians["bare_step_ms"]
            if args.whole_steps:
                medians |= measure_whole(study, args.peer, args.rounds, args.whole_steps)
            if args.peer:
                medians["steps_ratio"] = medians["peer_step_ms"] / medians["our_step_ms"]
                medians["memory_ratio"] = medians["our_memory_mib"] / medians["peer_memory_mib"]
                if args.whole_steps:
                    medians["whole_ratio"] = medians["peer_whole_s"] / medians["our_whole_s"]
            result |= {f"{name}_{batch_size}": round(value, 3) for name, value in medians.items()}
            if args.profile:
                profile(study)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
