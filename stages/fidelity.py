"""fidelity: measure whether synthetic images look like their class, and more so than the base's before DreamBooth."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.device import prepare_device
from sdaug.common.external_images import read_external
from sdaug.common.files import fresh_dir, write_csv, write_json
from sdaug.common.images import read_pngs
from sdaug.common.manifest import read_manifest, training_photos
from sdaug.common.params import SplitParams, concept_dirs
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import by_variant, read_synthetic
from sdaug.diffusion.latents import reconstruct
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.redraw import redraw
from sdaug.fidelity.measures import Yardsticks, measure_class
from sdaug.fidelity.params import FidelityParams
from sdaug.fidelity.photo_parts import read_part
from sdaug.fidelity.step_examples import choose_images, write_examples
from sdaug.fidelity.vae import measure_vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, required=True, help="folder with synthetic images of each concept")
    parser.add_argument("--external", type=Path, required=True, help="imported images")
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True, help="CSV file for images nearest to a training photo")
    parser.add_argument("--steps", type=Path, required=True, help="folder for examples of each step to an image")
    args = parser.parse_args()

    # Photos that the generators have seen, and all others. These include the test set: nobody may tune by
    # this diagnosis and then believe the test score (docs/generators.md).
    params = read_section(args.params, "fidelity", FidelityParams)
    classes = read_section(args.params, "classes", list[str])
    photos = read_manifest(args.prepared)
    seen = training_photos(photos, read_section(args.params, "split", SplitParams))
    seen_ids = {photo.id for photo in seen}
    # One thread, so that the last digits are the same on every machine; most of this work is small.
    pipeline = load_pipeline(args.base, prepare_device(num_threads=1))
    training = read_part(args.prepared, seen, classes, pipeline.vae)
    held_out = read_part(args.prepared, [photo for photo in photos if photo.id not in seen_ids], classes, pipeline.vae)

    # The VAE is measured on the photos that the base may have seen.
    vae = measure_vae(
        training.pixels, training.reconstructed, training.labels, training.groups, classes, seed=params.seed
    )
    yardsticks = Yardsticks(training, held_out, pipeline.vae, classes, params)

    # The base draws with the same prompts, seeds and starts, so only the fine-tuning differs.
    folders = concept_dirs(args.synthetic, args.params)
    by_class, pairs = {}, []
    for folder in folders:
        for name, images in by_variant(read_synthetic(folder)).items():
            before = redraw(pipeline, images[: params.num_images], args.prepared, title=f"{name}, base")
            after = read_pngs([folder / image.file_name for image in images])
            by_class[name], closest = measure_class(yardsticks, images, before, after)
            pairs += closest
    # Those from elsewhere as the VAE returns them, like the photos that they are compared with.
    for name, imported in by_variant(read_external(args.external)).items():
        after = reconstruct(pipeline.vae, read_pngs([args.external / image.file_name for image in imported]))
        by_class[name], closest = measure_class(yardsticks, imported, None, after)
        pairs += closest
    write_json(args.metrics, {"vae": vae, "copies": yardsticks.copy_detection, "classes": by_class})
    write_csv(args.pairs, pairs)

    # For the examples it draws what it knows, the class, from the same noise.
    class_prompt, examples = read_section(args.params, "class_images.prompt", str), []
    with fresh_dir(args.steps) as steps_dir:
        for folder in folders:
            shown = choose_images(read_synthetic(folder), class_prompt)
            label = shown[0].label
            drawn = redraw(pipeline, shown, args.prepared, title=f"{label}, examples")
            examples += write_examples(steps_dir, training, classes.index(label), shown, drawn, seed=params.seed)
        write_csv(steps_dir / "steps.csv", examples)


if __name__ == "__main__":
    run_stage(main)
