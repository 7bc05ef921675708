"""fidelity: measure whether synthetic images look like their class, and more so than the base's before DreamBooth."""

import argparse
from pathlib import Path

import numpy as np

from sdaug.common.device import prepare_device
from sdaug.common.files import write_json
from sdaug.common.images import read_png
from sdaug.common.manifest import label_indices, read_manifest, read_photos, training_photos
from sdaug.common.params import SplitParams
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import read_synthetic
from sdaug.diffusion.latents import reconstruct
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.sampling import draw_pixels
from sdaug.fidelity.judge import Judge, judge_images
from sdaug.fidelity.params import FidelityParams
from sdaug.fidelity.vae import measure_vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, nargs="+", required=True, help="generated images, a folder per class")
    parser.add_argument("--metrics", type=Path, required=True)
    args = parser.parse_args()

    # Photos that the generators have seen, and all others. These include the test set: nobody may tune by
    # this diagnosis and then believe the test score (docs/generators.md).
    params = read_section(args.params, "fidelity", FidelityParams)
    split = read_section(args.params, "split", SplitParams)
    classes = read_section(args.params, "classes", list[str])
    photos = read_manifest(args.prepared)
    seen = training_photos(photos, split)
    seen_ids = {photo.id for photo in seen}
    held_out = [photo for photo in photos if photo.id not in seen_ids]
    pipeline = load_pipeline(args.base, prepare_device())

    # The VAE is measured on the photos that the base may have seen.
    seen_labels = label_indices(seen, classes)
    vae = measure_vae(pipeline.vae, read_photos(args.prepared, seen), seen_labels, classes, seed=params.seed)

    # The judge also learns from VAE reconstructions, or it could take the blur of all generated images for a class.
    pixels, labels = read_photos(args.prepared, held_out), label_indices(held_out, classes)
    shown = np.concatenate([pixels, reconstruct(pipeline.vae, pixels)])
    judge = Judge(shown, np.concatenate([labels, labels]), classes, seed=params.seed)

    # The base draws with the same prompts and seeds, so only the fine-tuning differs.
    by_class = {}
    for folder in args.synthetic:
        synthetic = read_synthetic(folder)[: params.num_images]
        first, seeds = synthetic[0], [image.seed for image in synthetic]
        label, size = first.label, {"height": first.height, "width": first.width}
        own = pixels[labels == classes.index(label)]
        before = draw_pixels(pipeline, first.prompt, first.drawing, seeds, **size, title=f"{label}, base")
        after = np.stack([read_png(folder / image.file_name) for image in synthetic])
        by_class[label] = {"num_photos": len(own), "num_images": len(synthetic)} | {
            f"{key}_{when}": value
            for when, images in (("before", before), ("after", after))
            for key, value in judge_images(judge, own, images, label).items()
        }
    write_json(args.metrics, {"vae": vae, "classes": by_class})


if __name__ == "__main__":
    run_stage(main)
