"""fidelity: do the synthetic images look like their class, and more so than what the base drew before DreamBooth?"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.data.prepared import read_photos
from sdaug.data.split_params import SplitParams
from sdaug.device import prepare_device
from sdaug.diffusion.fidelity import Judge, kernel_distance
from sdaug.diffusion.fidelity_params import FidelityParams
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.pretraining import reconstruct
from sdaug.diffusion.sampling import draw_pixels
from sdaug.diffusion.synthesis import drawing_of
from sdaug.files import read_csv, write_json
from sdaug.images import read_png
from sdaug.manifest import read_manifest, training_photos
from sdaug.params import read_section
from sdaug.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, nargs="+", required=True, help="generated images, a folder a class")
    parser.add_argument("--metrics", type=Path, required=True)
    args = parser.parse_args()

    params = read_section(args.params, "fidelity", FidelityParams)
    split = read_section(args.params, "split", SplitParams)
    classes = read_section(args.params, "classes", list[str])
    photos = read_manifest(args.prepared)
    seen = {photo.id for photo in training_photos(photos, protocol=split.protocol, fold=split.fold)}
    held_out = [photo for photo in photos if photo.id not in seen]
    pixels = read_photos(args.prepared, held_out)
    labels = np.array([classes.index(photo.label) for photo in held_out])
    device = prepare_device()
    pipeline = load_pipeline(args.base, device)
    # The judge also sees each photo as the VAE returns it: a softness that all generated images share is no class.
    shown = np.concatenate([pixels, reconstruct(pipeline.vae, pixels)])
    judge = Judge(shown, np.concatenate([labels, labels]), classes, seed=params.seed)

    metrics = {}
    for folder in args.synthetic:
        rows = read_csv(folder / "manifest.csv")[: params.num_images]
        label = rows[0]["label"]
        own = pixels[labels == classes.index(label)]
        before = draw_pixels(
            pipeline, drawing_of(rows[0], where=str(folder)), [int(row["seed"]) for row in rows], title=f"{label}, base"
        )
        after = np.stack([read_png(folder / row["file"]) for row in rows])
        metrics[label] = {"num_photos": len(own), "num_images": len(rows)} | {
            f"{key}_{when}": value
            for when, images in (("before", before), ("after", after))
            for key, value in judge_images(judge, own, images, label).items()
        }
    write_json(args.metrics, metrics)


def judge_images(
    judge: Judge, photos: NDArray[np.uint8], images: NDArray[np.uint8], label: str
) -> dict[str, float | None]:
    """The figures of one class's images; the distance is None where there are fewer than two to compare."""
    can_compare = min(len(photos), len(images)) > 1
    distance = kernel_distance(judge.features(photos), judge.features(images)) if can_compare else None
    share, probability = judge.verdict(images, label)
    return {"class_share": share, "class_probability": probability, "kid": distance}


if __name__ == "__main__":
    run_stage(main)
