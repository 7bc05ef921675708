"""dreambooth: fine-tune the base on the training photos of one rare class."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sdaug.data.prepared import read_photos
from sdaug.data.split_params import SplitParams
from sdaug.device import prepare_device
from sdaug.diffusion.adapters import save_generator
from sdaug.diffusion.class_images import read_class_images
from sdaug.diffusion.dreambooth import train_dreambooth
from sdaug.diffusion.dreambooth_params import ConceptParams, DreamBoothParams
from sdaug.diffusion.pipelines import load_pipeline
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
    parser.add_argument("--class-images", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    args = parser.parse_args()

    params = read_section(args.params, "dreambooth", DreamBoothParams)
    concept = read_section(args.params, f"concepts.{args.label}", ConceptParams)
    class_prompt = read_section(args.params, "class_images.prompt", str)
    split = read_section(args.params, "split", SplitParams)
    seen = training_photos(read_manifest(args.prepared), protocol=split.protocol, fold=split.fold)
    photos = read_photos(args.prepared, [photo for photo in seen if photo.label == args.label])
    class_images = read_class_images(args.class_images)
    pipeline = load_pipeline(args.base, prepare_device())

    history: list[dict[str, float]] = []
    rows = [("photos", list(photos)), ("base, class prompt", list(class_images))]
    knobs = {"dreambooth": asdict(params), "concept": asdict(concept), "split": asdict(split)}
    with track(knobs, {"base": args.base, "prepared": args.prepared}) as log:

        def report(step: int, values: Mapping[str, float]) -> None:
            log.metrics(step, values)
            history.append({"step": step, **values})

        def preview(step: int) -> None:
            if params.num_preview_images:
                size_pixels = photos.shape[1]
                drawn = draw_previews(
                    pipeline,
                    concept.instance_prompt,
                    params.num_preview_images,
                    size_pixels=size_pixels,
                    guidance_scale=params.preview_guidance_scale,
                )
                rows.append((f"step {step}", drawn))
                log.picture(f"{args.label}.png", grid(rows, tile_pixels=64, columns=params.num_preview_images))

        preview(0)
        train_dreambooth(
            pipeline,
            photos,
            class_images if params.prior_preservation else None,
            params=params,
            concept=concept,
            class_prompt=class_prompt,
            report=report,
            preview=preview,
        )
        with fresh_dir(args.out) as out_dir:
            save_generator(pipeline, args.base, out_dir, params)
        preview(params.training_steps)
    write_csv(args.history, history)


if __name__ == "__main__":
    run_stage(main)
