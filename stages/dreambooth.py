"""dreambooth: fine-tune the base on the training photos of one rare class."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sdaug.data.arms import SplitParams
from sdaug.data.prepared import read_photos
from sdaug.device import prepare_device
from sdaug.diffusion.dreambooth import draw_class_images, train_dreambooth
from sdaug.diffusion.dreambooth_params import ConceptParams, DreamBoothParams
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.sampling import draw_previews
from sdaug.files import fresh_dir, write_csv
from sdaug.images import grid
from sdaug.manifest import read_manifest, training_photos
from sdaug.params import read_section
from sdaug.stage import run_stage
from sdaug.tracking import track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--class", dest="label", required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    args = parser.parse_args()

    params = read_section(args.params, "dreambooth", DreamBoothParams)
    concept = read_section(args.params, f"concepts.{args.label}", ConceptParams)
    split = read_section(args.params, "split", SplitParams)
    seen = training_photos(read_manifest(args.prepared), protocol=split.protocol, fold=split.fold)
    photos = read_photos(args.prepared, [photo for photo in seen if photo.label == args.label])
    pipeline = load_pipeline(args.base, prepare_device())

    history: list[dict[str, float]] = []
    knobs = {"dreambooth": asdict(params), "concept": asdict(concept), "split": asdict(split)}
    with track(knobs, {"base": args.base, "prepared": args.prepared}) as log:

        def report(step: int, values: Mapping[str, float]) -> None:
            log.metrics(step, values)
            history.append({"step": step, **values})

        size_pixels = photos.shape[1]
        class_images = draw_class_images(pipeline, params, size_pixels=size_pixels)
        train_dreambooth(pipeline, photos, class_images, params=params, concept=concept, report=report)
        with fresh_dir(args.out) as out_dir:
            save_pipeline(pipeline, out_dir)
        drawn = draw_previews(pipeline, concept.instance_prompt, params.num_preview_images, size_pixels=size_pixels)
        rows = [("photos", list(photos)), ("base", list(class_images)), ("DreamBooth", drawn)]
        log.picture(f"{args.label}.png", grid(rows, tile_pixels=64, columns=params.num_preview_images))
    write_csv(args.history, history)


if __name__ == "__main__":
    run_stage(main)
