"""A small study on which the whole pipeline runs, and commands in its folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import yaml
from PIL import Image
from small import build_small

from sdaug.diffusion.pipelines import save_pipeline
from sdaug.run.warm import warm_starts

ROOT = Path(__file__).parents[1]
BASE_DIR = "pretrained/test"  # in the study, whose clones have it too
BIN = Path(sys.executable).parent
TELLTALE = "telltale"  # in the user's name, home folder and tokens
SECRETS = ("USER", "LOGNAME", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")


def run(folder: Path, *words: str, ok: bool = True, **changes: str) -> str:
    """The output of a command run in a study's folder, in an environment with changes."""
    env = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
        "SDAUG_MLFLOW": "off",
        "HOME": str(folder.parent / TELLTALE),
        **{name: f"{TELLTALE}-{name.lower()}" for name in SECRETS},
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
        **changes,
    }
    result = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    output = result.stdout + result.stderr
    assert (result.returncode == 0) == ok, output
    return output


def copy_checkout(folder: Path) -> Path:
    """Copy the tracked and new files of this checkout into a repository of their own."""
    listed = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "study")
    return folder


@contextmanager
def warm(folder: Path, **changes: str) -> Iterator[dict[str, str]]:
    """The environment in which DVC starts the stages of a folder warm: the same bytes in a fraction of the time."""
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "SDAUG_MLFLOW": "off", **changes}
    scripts = [path.relative_to(folder) for path in sorted((folder / "stages").glob("[!_]*.py"))]
    with chdir(folder), patch.dict(os.environ, environment), warm_starts(scripts, {}) as starts:
        assert starts
        yield starts


def edit_params(folder: Path, **values: object) -> None:
    """Set parameters given as `section__key=value`."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for name, value in values.items():
        *parents, last = name.split("__")
        section = params
        for parent in parents:
            section = section[parent]
        section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def restore(study: Path) -> None:
    """Undo every change since the study was committed."""
    run(study, "git", "restore", ".")
    run(study, "dvc", "checkout", "-q", "--force")


def run_study(folder: Path) -> None:
    """Make the study in a new folder, run it and commit it."""
    make_study(folder)
    run(folder, "sdaug", "grid", "--jobs", "2")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "run")


def make_study(folder: Path) -> None:
    """Adopt 24 photos of squares and 14 of stripes in a new folder, with settings for a run of a minute."""
    folder.mkdir()
    copy_checkout(folder)
    shutil.rmtree(folder / "metrics", ignore_errors=True)
    shutil.rmtree(folder / "report", ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    photos = folder.parent / "photos"
    rng = np.random.default_rng(0)
    for label, count in (("squares", 24), ("stripes", 14)):
        (photos / label).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 60, (40, 36, 3), dtype=np.uint8)
            pixels[10:26, 10:26] += 120 if label == "squares" else 0
            pixels[::4] += 120 if label == "stripes" else 0
            Image.fromarray(pixels).save(photos / label / f"{index}.jpg")
    run(folder, "git", "commit", "-qam", "forget results")
    run(folder, "sdaug", "adopt", str(photos), "--preset", "current", "--subject", "pattern")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    custom = params["classifiers"]["custom"] | {"steps": 6, "batch_size": 4}
    params["class_images"]["num_images"] = 2
    for section in ("class_images", "synthesize"):
        params[section]["drawing"]["inference_steps"] = 2
    params["dreambooth"] |= {"training_steps": 2, "num_preview_images": 2}
    params["fidelity"] |= {"num_images": 2}
    params["base"] |= {"model": BASE_DIR, "adapt_steps": 3, "adapt_batch_size": 4}
    params["classifiers"] = {"custom": custom, "other": custom | {"learning_rate": 1.0e-3}}
    params["prepare"] |= {"num_folds": 3, "sixteen_bit_maximum": 4095}  # no photo has 16 bits
    del params["datasets"]["oversampled"]  # two arms show as much as three
    params["seeds"] = params["generator_seeds"] = [0, 1]
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    save_pipeline(build_small(size_pixels=params["prepare"]["size_pixels"]), folder / BASE_DIR)
