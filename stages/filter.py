"""filter: ask a judge of training photos how likely each synthetic image shows its class; arms may keep the best."""

import _source  # noqa: F401

import argparse
from collections.abc import Sequence
from pathlib import Path

from sdaug.common.device import prepare_device
from sdaug.common.drawn import Drawn
from sdaug.common.external_images import read_external
from sdaug.common.files import write_csv, write_json
from sdaug.common.images import read_pngs
from sdaug.common.manifest import label_indices, read_manifest, read_photos, training_photos
from sdaug.common.params import SplitParams, concept_dirs
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import by_variant, read_synthetic
from sdaug.diffusion.latents import reconstruct
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.filter.opinions import Filter, TrainingPhotos, opinion_rows, summarize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, required=True, help="folder with synthetic images of each concept")
    parser.add_argument("--external", type=Path, required=True, help="imported images")
    parser.add_argument("--out", type=Path, required=True, help="CSV file with a row per image")
    parser.add_argument("--metrics", type=Path, required=True)
    args = parser.parse_args()

    # A judge of the photos that generators may see. One thread, so that its digits are the same on every machine.
    classes = read_section(args.params, "classes", list[str])
    seen = training_photos(read_manifest(args.prepared), read_section(args.params, "split", SplitParams))
    vae = load_pipeline(args.base, prepare_device(num_threads=1)).vae
    pixels = read_photos(args.prepared, seen)
    photos = TrainingPhotos(pixels=pixels, reconstructed=reconstruct(vae, pixels), labels=label_indices(seen, classes))
    judge = Filter(photos, classes)

    # Its opinion of all images.
    rows, summaries = [], {}
    folders = concept_dirs(args.synthetic, args.params)
    every: list[tuple[Path, Sequence[Drawn]]] = [(folder, read_synthetic(folder)) for folder in folders]
    every.append((args.external, read_external(args.external)))
    for folder, drawn in every:
        for name, images in by_variant(drawn).items():
            pixels = read_pngs([folder / image.file_name for image in images])
            opinions = opinion_rows(images, judge.probabilities(pixels), classes)
            summaries[name] = summarize(opinions)
            rows += opinions
    write_csv(args.out, rows)
    write_json(args.metrics, {"classes": summaries})


if __name__ == "__main__":
    run_stage(main)
