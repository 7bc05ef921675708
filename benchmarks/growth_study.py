"""Studies of tiny stages: as many photos, classes and training runs as wanted, and a log of all processes.

A study is a repository of its own with this checkout's code and graph, adopted for photos of noise and stripes. Its
base is an untrained network of two narrow levels, and every training takes two to six steps.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from sdaug.diffusion.pipelines import save_pipeline
from sdaug.pretrain.networks import build_network
from sdaug.pretrain.params import NetworkParams

ROOT = Path(__file__).parents[1]
CODE = ("src", "stages", "presets", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml", "pyproject.toml")
NETWORK = NetworkParams(
    vae_channels=[16, 32],
    latent_channels=4,
    unet_channels=[16, 32],
    attention_levels=1,
    text_width=128,
    text_layers=1,
    num_merges=0,
    max_tokens=48,
)
SIZE_PIXELS = 32
NUM_SEEDS = 5  # of models with several: the verdict needs three of each
# `ru_maxrss` would be that of the process which started this one, where that is larger.
PEAK = 'int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) / 1024'
# What a process appends to the log: `dvc` and `sdaug` are found in a folder before those of the installation.
COMMAND = """#!{python}
import json, re, resource, runpy, sys, time

begin = time.monotonic()
try:
    runpy.run_path({real!r}, run_name="__main__")
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    row = {{"kind": {name!r}, "name": " ".join(sys.argv[1:]), "wall_s": time.monotonic() - begin}}
    row |= {{"cpu_s": used.ru_utime + used.ru_stime, "peak_mib": {peak}}}
    with open({log!r}, "a") as file:
        file.write(json.dumps(row) + "\\n")
"""
# Appended to stages/_source.py of the study, which every stage imports first. Finalizers run in forks as well.
STAGE = """

def _log_stage():
    import json, re, resource, time
    from multiprocessing.util import Finalize

    begin = time.monotonic()

    def write():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(one.ru_utime + one.ru_stime for one in used)
        row = {{"kind": "stage", "name": Path(sys.argv[0]).stem, "wall_s": time.monotonic() - begin, "cpu_s": cpu}}
        row["peak_mib"] = {peak}
        with open({log!r}, "a") as file:
            file.write(json.dumps(row) + "\\n")

    Finalize(None, write, exitpriority=0)


_log_stage()
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a study has: training and test photos per class, models with one seed and with five, and arms.

    A class with fewer photos than the largest is rare, and has a generator that draws what it lacks.
    """

    train_counts: Sequence[int]
    test_count: int
    num_single: int = 1
    num_seeded: int = 0
    num_arms: int = 2

    @property
    def num_runs(self) -> int:
        return self.num_arms * (self.num_single + NUM_SEEDS * self.num_seeded)

    @property
    def num_photos(self) -> int:
        """Training and test photos."""
        return sum(self.train_counts) + self.test_count * len(self.train_counts)

    @property
    def num_synthetic(self) -> int:
        return sum(max(self.train_counts) - count for count in self.train_counts)


def of_images(size: int) -> Shape:
    """Four classes with `size` training photos together and as many synthetic images."""
    rare = size // 6
    return Shape(train_counts=[size - 3 * rare, rare, rare, rare], test_count=size // 16)


def of_classes(size: int) -> Shape:
    """So many classes, of which one in five is rare."""
    return Shape(train_counts=[8 if index % 5 == 4 else 12 for index in range(size)], test_count=3)


def of_generators(size: int) -> Shape:
    """So many rare classes, and one that is not."""
    return Shape(train_counts=[12, *([8] * size)], test_count=3)


def of_runs(size: int) -> Shape:
    """So many training runs: models times arms, both growing; a stage trains five seeds, or one of what is left.

    Raises:
        ValueError: the size is no product of arms and models.
    """
    most = [num for num in range(2, size + 1) if size % num == 0 and 3 * num * num <= max(size, 12)]
    if not most:
        raise ValueError(f"--sizes {size}: no number of arms divides it; take an even number of runs")
    of_arm = size // most[-1]
    seeded = of_arm // NUM_SEEDS
    return Shape(
        train_counts=[20, 8, 8, 8],
        test_count=4,
        num_single=of_arm - seeded * NUM_SEEDS,
        num_seeded=seeded,
        num_arms=most[-1],
    )


class Study:
    """A study in a new folder, and the log of its processes."""

    def __init__(self, folder: Path, shape: Shape, *, mlflow: bool) -> None:
        self.folder, self.log = folder / "study", folder / "log.jsonl"
        self.commands = folder / "bin"
        installed = Path(sys.executable).parent
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(self.commands), str(installed), os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder / "src"),
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "SDAUG_MLFLOW": "on" if mlflow else "off",
        }
        self.environment |= {
            f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        self._copy_code()
        self.commands.mkdir()
        for name in ("dvc", "sdaug"):
            real = str(installed / name)
            text = COMMAND.format(python=sys.executable, real=real, name=name, log=str(self.log), peak=PEAK)
            (self.commands / name).write_text(text, encoding="utf-8")
            (self.commands / name).chmod(0o755)
        draw_photos(folder / "photos", shape)
        save_pipeline(build_network(NETWORK, [], size_pixels=SIZE_PIXELS, seed=0), self.folder / "pretrained" / "small")
        self.run("git", "init", "--quiet")
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", "study")
        self.run("sdaug", "adopt", "../photos", "--preset", "current", "--subject", "pattern")
        path = self.folder / "params.yaml"
        params = shrink(yaml.safe_load(path.read_text(encoding="utf-8")), shape)
        path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def run(self, *words: str) -> float:
        """Run a command in the study's folder; the seconds that it takes.

        Raises:
            RuntimeError: it fails.
        """
        begin = time.monotonic()
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout.decode(errors='replace')}")
        return time.monotonic() - begin

    def read_log(self, *, start: int = 0) -> list[dict[str, Any]]:
        """The processes that have ended, from the `start`-th on."""
        lines = self.log.read_text(encoding="utf-8").splitlines()[start:] if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def _copy_code(self) -> None:
        self.folder.mkdir(parents=True)
        for name in CODE:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.folder / name)
        (self.folder / ".dvc").mkdir()
        for name in ("config", ".gitignore"):
            shutil.copy(ROOT / ".dvc" / name, self.folder / ".dvc" / name)
        with (self.folder / "stages" / "_source.py").open("a", encoding="utf-8") as file:
            file.write(STAGE.format(peak=PEAK, log=str(self.log)))


def draw_photos(folder: Path, shape: Shape) -> None:
    """Photos `train/CLASS/N.png` and `test/CLASS/N.png`: stripes by class over blots of their own."""
    rng = np.random.default_rng(0)
    across = np.arange(SIZE_PIXELS) / SIZE_PIXELS
    for index, count in enumerate(shape.train_counts):
        stripes = 30 * np.sin(2 * np.pi * (1 + index % 7) * across[None, :] + index * across[:, None])
        for part, number in (("train", count), ("test", shape.test_count)):
            target = folder / part / f"class_{index:04d}"
            target.mkdir(parents=True)
            for photo in range(number):
                blots = Image.fromarray(rng.integers(40, 216, (12, 12, 3), dtype=np.uint8))
                pixels = np.asarray(blots.resize((SIZE_PIXELS,) * 2, Image.Resampling.BICUBIC)) + stripes[..., None]
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target / f"{photo}.png")


def shrink(params: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """The params with stages of a second or less, and the models and arms of the shape."""
    params["class_images"]["num_images"] = 2
    for section in ("class_images", "synthesize"):
        params[section]["drawing"]["inference_steps"] = 2
    params["synthesize"]["drawing"]["guidance_scale"] = 1.0
    params["dreambooth"] |= {"training_steps": 2, "batch_size": 2, "num_preview_images": 1, "preview_steps": 0}
    params["fidelity"]["num_images"] = 2
    params["prepare"] |= {"num_folds": 3, "size_pixels": SIZE_PIXELS}
    params["generator_seeds"] = params["seeds"] = [0]
    custom = params["classifiers"]["custom"] | {"steps": 6, "batch_size": 4, "image_size": SIZE_PIXELS}
    seeded = custom | {"seeds": list(range(NUM_SEEDS))}
    models = {f"single{index}": custom for index in range(shape.num_single)}
    params["classifiers"] = {f"seeded{index}": seeded for index in range(shape.num_seeded)} | models
    # Shares of what each class lacks, from none to all.
    shares = {"augmented" if n == shape.num_arms - 1 else f"share{n}": n for n in range(1, shape.num_arms)}
    arms = {name: {"images": {"synthetic": n / (shape.num_arms - 1)}, "training": {}} for name, n in shares.items()}
    params["datasets"] = {"original": {"images": {}, "training": {}}} | arms
    return params
