"""A study of a few images, as the report finds it, and a run of the stage on it."""

import io
import runpy
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_results import CLASSES, DATASETS, LABELS, MODELS, SEEDS, write_runs
from test_sampling import FROM_NOISE

from sdaug.common.external_images import write_external
from sdaug.common.files import write_csv, write_json
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.params import SplitParams
from sdaug.common.provenance import Seen, write_seen
from sdaug.common.sections import read_params
from sdaug.common.synthetic import PLAIN, SyntheticImage, read_synthetic, write_synthetic
from sdaug.verdict.external_summary import External
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.letters import (
    Audit,
    Check,
    Copies,
    CopyDetection,
    CopyShares,
    Distance,
    Distances,
    Doubts,
    Fidelity,
    Filter,
    Filtered,
    ImageAudit,
    Judged,
    JudgeFigures,
    Letter,
    Likeness,
    Prepared,
    Quartiles,
    Vae,
)
from sdaug.verdict.results import Study

STAGE = Path(__file__).parents[1] / "stages" / "report.py"
PARAMS = Path(__file__).parents[1] / "params.yaml"
MISSING = {"score_1": 2, "score_3": 5}
BASE = Seen(summary="9 drawings; none of this study", counts={"drawings": 9}, num_adapted=0)
PREPARED = Prepared(
    num_photos={"train.score_1": 5, "test.score_1": 8},
    num_groups=9,
    num_test_images_sharing_a_group_with_training=0,
    largest_group=2,
    num_near_copies=0,
    num_duplicates=0,
    duplicates={},
    num_training_copies_of_test_photos=0,
    num_ignored=7,
    num_broken=0,
    broken_of_class={},
    broken=[],
    unused=[],
    unread=[],
    num_broken_profiles=0,
    left_out=[],
)
CHECK = Check(compared="9 photos", verdict="ok", num_found=0, ids=[], details=[])
AUDIT = Audit(
    verdict="ok",
    on_leak="report",
    checks={"groups": CHECK},
    num_photos={"test": 9},
    label_errors=Doubts(
        compared="9 labels",
        accuracy_of_classifier=0.5,
        num_found=7,
        ids=[f"d{n}" for n in range(7)],
        details=[],
    ),
)
EXTERNAL = External(sources={}, used={})
IMAGE_AUDIT = ImageAudit(verdict="ok", on_leak="report", checks={}, num_synthetic=7)


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


def filtered() -> Filter:
    probability = Quartiles(quarter=0.25, half=0.5, three_quarters=0.75)
    found = Filtered(num_images=7, num_of_draw={"0": 4, "1": 3}, recognized=0.5, probability=probability)
    return Filter(classes=dict.fromkeys(MISSING, found))


def distance(value: float | None) -> Distance:
    return Distance(
        num_images=8,
        kernel_distance=value,
        kernel_distance_low=value,
        kernel_distance_high=value,
        k=None if value is None else 5,
        precision=value,
        recall=value,
        density=value,
        coverage=value,
    )


def fidelity() -> Fidelity:
    """Of two classes: too few photos to tell how far apart they lie."""
    kinds = JudgeFigures(photos=0.875, reconstructed=0.75, before=0.125, after=0.625)
    few, many = distance(None), distance(0.5)
    found = Likeness(
        num_photos=9,
        num_images=8,
        judge=Judged(share=kinds, probability=kinds, share_of_draw={"0": 0.5, "1": 0.75}),
        distances=Distances(photos=few, sharp=few, before=many, after=many),
        copies=Copies(share=CopyShares(photos=None, planted=1.0, after=0.0), smallest_ratio=0.9),
    )
    return Fidelity(
        vae=Vae(squared_error=0.5, accuracy_on_photos=None, accuracy_on_reconstructions=None),
        copies=CopyDetection(threshold=0.8, found={"jpeg": 1.0}),
        classes=dict.fromkeys(MISSING, found),
    )


def inputs_of(study: Study, **changes: Any) -> Inputs:
    """Inputs of a report with a single photo, which validates, and no images."""
    found = Inputs(
        params={"classifiers": {model: {} for model in study.models}},
        split=SplitParams(protocol="clean", fold=0, validation_fraction=0.2, seed=0),
        selection="loss",
        arms=dict.fromkeys(study.datasets, read_params(PARAMS)["arm"]),
        study=study,
        photos=[Photo(id="fold0", label=study.classes[0], group="fold0", split="train", fold=0, sha256="")],
        test_set="01234567",
        photo_files={},
        generated={},
        imported=[],
        examples={},
        closest={},
        base=BASE,
        prepare=PREPARED,
        audit=AUDIT,
        audit_images=IMAGE_AUDIT,
        fidelity=fidelity(),
        filter=filtered(),
        external=EXTERNAL,
    )
    return replace(found, **changes)


def write_letter(metrics_dir: Path, letter: Letter) -> None:
    """As its stage writes it."""
    write_json(metrics_dir / f"{letter.stage}.json", letter.as_json())


def write_study(root: Path) -> None:
    write_runs(root / "metrics")
    for letter in (PREPARED, AUDIT, IMAGE_AUDIT, EXTERNAL, fidelity(), filtered()):
        write_letter(root / "metrics", letter)
    write_seen(root / "metrics" / "seen.json", BASE)
    write_photos(root / "prepared")
    write_generated(root / "synthetic")
    (root / "imported").mkdir()
    write_external(root / "imported", [])
    write_steps(root / "steps", root / "synthetic")
    params = {
        "arm": read_params(PARAMS)["arm"],
        "classes": list(CLASSES),
        "classifiers": {model: {} for model in MODELS},
        "concepts": {label: {"instance_prompt": f"a {label}"} for label in MISSING},
        "cross_validate": {"folds": []},
        "datasets": {name: {"images": {"synthetic": float(name == "augmented")}, "training": {}} for name in DATASETS},
        "prepare": {"num_folds": 4},
        "recipe": {"method": "plain"},
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
    inputs = ["--params", "params.yaml", "--prepared", "prepared", "--synthetic", "synthetic"]
    inputs += ["--external", "imported"]
    inputs += ["--steps", "steps", "--metrics", "metrics"]
    outputs = ["--out", out, "--summary", f"metrics/{out}.json"]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(root)
        patch.setattr("sys.argv", ["report.py", *inputs, *outputs, *options])
        runpy.run_path(str(STAGE), run_name="__main__")
    return printed.getvalue()
