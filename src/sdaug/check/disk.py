"""Whether the disk can hold a study: an estimate of what it writes, against what is free."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from sdaug.check.study import StudyParams
from sdaug.common.files import read_json, write_json
from sdaug.common.params import resolve_seeds

OFF = "SDAUG_DISK_CHECK"
WRITTEN = (Path("data"), Path("models"))
FLOAT_BYTES, COLORS = 4, 3
# Stable Diffusion 1.x and 2.x: a UNet of 860 million weights, and 1.1 billion in all (its model card).
HUB_UNET_BYTES, HUB_BYTES = 3_440_000_000, 4_300_000_000
XL_UNET_BYTES, XL_BYTES = 10_270_000_000, 13_880_000_000  # SDXL: 2.57 billion and 3.47 billion, counted
ADAPTERS_SHARE = 0.02  # of the UNet: LoRA of rank 16 on the attention is 1.5 %
# A checkpoint of DreamBooth holds weights, two moments and an average, and is written beside the one before.
CHECKPOINT_COPIES = 8


def estimate_bytes(study: StudyParams, classifier_bytes: Mapping[str, int], num_photos: int) -> dict[str, int]:
    """About what the study writes, in bytes, by kind; `classifier_bytes` are those of one run of each model."""
    num_draws, pixels = len(study.generator_seeds), study.prepare.size_pixels**2 * COLORS
    base, unet = base_bytes(study.base.model)
    generator = unet if study.dreambooth.method == "full" else round(ADAPTERS_SHARE * unet)
    num_generators = len(study.concepts) * num_draws
    runs = {name: len(resolve_seeds(study.seeds, entry, where=name)) for name, entry in study.classifiers.items()}
    # At most the largest class, which has at most all photos but one per class, times the multiple.
    num_drawn = study.synthesize.num_images or round(num_photos * study.synthesize.multiple_of_missing)
    num_synthetic = num_drawn * num_draws * len(study.synthesize.drawings())
    return {
        "base": base,
        "generators": num_generators * generator + CHECKPOINT_COPIES * generator,
        "classifiers": len(study.datasets) * sum(runs.get(name, 0) * size for name, size in classifier_bytes.items()),
        # Photos stay as they are, prepared, and packed once per arm; PNG files are hardly smaller than their pixels.
        "images": pixels * (2 * num_photos + num_synthetic + len(study.datasets) * (num_photos + num_synthetic)),
    }


def require_space(study: StudyParams, classifier_bytes: Mapping[str, int], root: Path) -> None:
    """Stop before the study starts if the disk cannot hold what is still to be written.

    Raises:
        ValueError: less is free than the estimate, less what the study has written already.
    """
    if os.environ.get(OFF) == "off":
        return
    parts = estimate_bytes(study, classifier_bytes, count_photos(study, root))
    needed = sum(parts.values()) - sum(map(folder_bytes, (root / path for path in WRITTEN)))
    free = shutil.disk_usage(root).free
    if needed > free:
        listed = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items())
        raise ValueError(
            f"params.yaml: the study will write about {gigabytes(needed)} more ({listed}), and {gigabytes(free)} are "
            "free on its disk; make room, or ask for less: dreambooth.method: lora, fewer generator_seeds, seeds, "
            f"classifiers or datasets; {OFF}=off goes on regardless"
        )


def write_sizes(path: Path, classifier_bytes: Mapping[str, int]) -> None:
    """Keep the sizes of classifiers, which it takes seconds to find, for `sdaug grid`."""
    write_json(path, {"classifier_bytes": dict(classifier_bytes)})


def read_sizes(path: Path) -> dict[str, int]:
    """What `write_sizes` has written; nothing if there is no such file."""
    return {name: int(size) for name, size in read_json(path)["classifier_bytes"].items()} if path.is_file() else {}


def count_photos(study: StudyParams, root: Path) -> int:
    """The number of photos: of the phantom, or of all files in the raw folder, where it is there."""
    if study.phantom is not None:
        return sum(study.phantom.train_counts.values()) + sum(study.phantom.test_counts.values())
    return sum(1 for _ in files_in(root / study.prepare.raw))


def folder_bytes(folder: Path) -> int:
    """The size of all files in a folder, 0 if there is no such folder."""
    return sum(path.lstat().st_size for path in files_in(folder))


def files_in(folder: Path) -> Iterable[Path]:
    """All files below a folder; symbolic links to folders are not followed."""
    return (Path(root) / name for root, _, names in os.walk(folder) for name in names)


def gigabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{max(size, 0) / 1e6:.0f} MB"


def base_bytes(model: str) -> tuple[int, int]:
    """The bytes of a base as float32, and of its UNet."""
    path = Path(model)
    if path.is_dir():
        # Half-precision weights are written in full.
        return 2 * folder_bytes(path), 2 * folder_bytes(path / "unet")
    if path.is_file():
        return 2 * path.stat().st_size, 2 * path.stat().st_size
    # The hub is not asked: ids of SDXL have this in their names, such as stabilityai/stable-diffusion-xl-base-1.0.
    return (XL_BYTES, XL_UNET_BYTES) if "xl" in model.lower() else (HUB_BYTES, HUB_UNET_BYTES)
