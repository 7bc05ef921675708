"""A study of a few images, as the report finds it, and a run of the stage on it."""

import io
import runpy
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_results import CLASSES, DATASETS, LABELS, MODELS, SEEDS, write_runs
from test_sampling import FROM_NOISE

from sdaug.common.files import write_csv, write_json
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.sections import read_params
from sdaug.common.seen import Seen, write_seen
from sdaug.common.synthetic import PLAIN, SyntheticImage, read_synthetic, write_synthetic

STAGE = Path(__file__).parents[1] / "stages" / "report.py"
PARAMS = Path(__file__).parents[1] / "params.yaml"
MISSING = {"score_1": 2, "score_3": 5}
CHECK: dict[str, Any] = {"compared": "9 photos", "verdict": "ok", "num_found": 0, "ids": [], "details": []}
BASE = Seen(summary="9 drawings; none of this study", counts={"drawings": 9}, num_adapted=0)
AUDIT: dict[str, Any] = {
    "verdict": "ok",
    "on_leak": "report",
    "checks": {"groups": CHECK},
    "label_errors": {"compared": "9 labels", "num_found": 7, "ids": [f"d{n}" for n in range(7)], "details": []},
}


def write_image(path: Path, *purpose: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.random.default_rng(purpose).integers(0, 256, size=(16, 16, 3), dtype=np.uint8))


def write_photos(prepared_dir: Path) -> None:
    train = np.repeat([0, 1, 2], [4, 6, 1])
    photos = []
    for split, labels in (("train", train), ("test", LABELS)):
        for n, k in enumerate(labels):
            photo = Photo(
                id=f"t{n:03}" if split == "test" else f"train{n:03}",
                label=CLASSES[k],
                group=f"{split}{n}",
                split="train" if split == "train" else "test",
                fold=-1 if split == "test" else 1,
                sha256="",
            )
            write_image(prepared_dir / "images" / photo.file_name, n, k)
            photos.append(photo)
    # A photo of the validation fold, which must not be counted as training.
    photos.append(Photo(id="fold0", label=CLASSES[0], group="fold0", split="train", fold=0, sha256=""))
    write_image(prepared_dir / "images" / "fold0.png", 0)
    write_manifest(prepared_dir / "manifest.csv", photos)


def write_generated(synthetic_dir: Path) -> None:
    for k, (label, count) in enumerate(MISSING.items()):
        images = [
            SyntheticImage(
                label=label,
                draw=d,
                variant=PLAIN,
                photo="",
                seed=n + 9 * d,
                prompt="a",
                height=16,
                width=16,
                drawing=FROM_NOISE,
            )
            for d in range(2)
            for n in range(count)
        ]
        for n, image in enumerate(images):
            write_image(synthetic_dir / label / image.file_name, 9, n, k)
        write_synthetic(synthetic_dir / label, images)


def write_steps(steps_dir: Path, synthetic_dir: Path) -> None:
    """Two examples of each class, with the first training photos of the manifest."""
    rows = []
    for label, photos in (("score_1", ("train000", "train001")), ("score_3", ("train010", "train010"))):
        for photo, image in zip(photos, read_synthetic(synthetic_dir / label), strict=False):
            files = {kind: f"{kind}_{label}_{image.seed}.png" for kind in ("reconstructed", "base")}
            for n, file in enumerate(files.values()):
                write_image(steps_dir / file, 8, n, image.seed)
            rows.append({"label": label, "photo": photo, **files, "synthetic": image.id})
    write_csv(steps_dir / "steps.csv", rows)


def filter_metrics() -> dict[str, Any]:
    probability = {"quarter": 0.25, "half": 0.5, "three_quarters": 0.75}
    return {"num_images": 7, "num_of_draw": {"0": 4, "1": 3}, "recognized": 0.5, "probability": probability}


def fidelity_metrics() -> dict[str, Any]:
    scores = ("k", "precision", "recall", "density", "coverage")
    names = (*(f"kernel_distance{end}" for end in ("", "_low", "_high")), *scores)
    few, many = ({"num_images": 8} | dict.fromkeys(names, value) for value in (None, 0.5))
    kinds = {"photos": 0.875, "before": 0.125, "after": 0.625}
    figures = {
        "num_photos": 9,
        "num_images": 8,
        "judge": {"share": kinds, "probability": kinds, "share_of_draw": {"0": 0.5, "1": 0.75}},
        "distances": {"photos": few, "before": many, "after": many},
        "copies": {"share": {"photos": None, "planted": 1.0, "after": 0.0}, "smallest_ratio": 0.9},
    }
    found = {"threshold": 0.8, "found": {"jpeg": 1.0}}
    return {"vae": {"squared_error": 0.5}, "copies": found, "classes": dict.fromkeys(MISSING, figures)}


def write_study(root: Path) -> None:
    write_runs(root / "metrics")
    write_json(root / "metrics" / "prepare.json", {"num_skipped": 7})
    write_json(root / "metrics" / "fidelity.json", fidelity_metrics())
    write_json(root / "metrics" / "filter.json", {"classes": {label: filter_metrics() for label in MISSING}})
    write_json(root / "metrics" / "audit.json", AUDIT)
    write_json(root / "metrics" / "audit_images.json", {"verdict": "ok", "on_leak": "report", "checks": {}})
    write_seen(root / "metrics" / "seen.json", BASE)
    write_photos(root / "prepared")
    write_generated(root / "synthetic")
    write_steps(root / "steps", root / "synthetic")
    params = {
        "arm": read_params(PARAMS)["arm"],
        "classes": list(CLASSES),
        "classifiers": {model: {} for model in MODELS},
        "datasets": {name: {"images": {"synthetic": float(name == "augmented")}, "training": {}} for name in DATASETS},
        "seeds": list(SEEDS),
        "split": {"protocol": "clean", "fold": 0, "validation_fraction": 0.2, "seed": 0},
        "train": {"selection": "balanced_accuracy"},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def write_pairs(root: Path, **changes: str) -> None:
    """Pairs of all generated images of one class with its training photos, the last image the closest."""
    images = read_synthetic(root / "synthetic" / "score_3")
    pair = {"label": "score_3", "photo": "train010", "photo_label": "score_3", "distance": 0.5, "is_copy": 0}
    rows = [
        pair | {"draw": image.draw, "synthetic": image.id, "ratio": 0.9 - n / 100} | changes
        for n, image in enumerate(images)
    ]
    write_csv(root / "metrics" / "closest_pairs.csv", rows)


def report(root: Path, *options: str, out: str = "report") -> str:
    """Run the stage in the study's folder; return what it printed."""
    folders = [f"synthetic/{label}" for label in MISSING]
    inputs = ["--params", "params.yaml", "--prepared", "prepared", "--synthetic", *folders]
    inputs += ["--steps", "steps", "--metrics", "metrics"]
    outputs = ["--out", out, "--summary", f"metrics/{out}.json"]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(root)
        patch.setattr("sys.argv", ["report.py", *inputs, *outputs, *options])
        runpy.run_path(str(STAGE), run_name="__main__")
    return printed.getvalue()
