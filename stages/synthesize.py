"""synthesize: draw as many images of one rare class as it lacks to the largest one."""

import argparse
from pathlib import Path

from sdaug.data.split_params import SplitParams
from sdaug.device import prepare_device
from sdaug.diffusion.adapters import load_generator
from sdaug.diffusion.dreambooth_params import ConceptParams
from sdaug.diffusion.sampling import Drawing
from sdaug.diffusion.synthesis import synthesize
from sdaug.diffusion.synthesize_params import SynthesizeParams
from sdaug.files import fresh_dir, write_json
from sdaug.manifest import count_labels, missing_counts, read_manifest, training_photos
from sdaug.params import read_section
from sdaug.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--class", dest="label", required=True)
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    args = parser.parse_args()

    params = read_section(args.params, "synthesize", SynthesizeParams)
    concept = read_section(args.params, f"concepts.{args.label}", ConceptParams)
    split = read_section(args.params, "split", SplitParams)
    classes = read_section(args.params, "classes", list[str])
    seen = training_photos(read_manifest(args.prepared), protocol=split.protocol, fold=split.fold)
    missing = missing_counts(count_labels(seen, classes))[args.label]
    num_images = params.count(missing)
    if num_images < 1:
        raise ValueError(
            f"{args.params}: concepts.{args.label}: the class lacks {missing} images to the largest one, so none are "
            "to be drawn; remove it from `concepts` and from the dependencies of `split` (`sdaug adopt` writes both)"
        )
    drawing = Drawing(
        prompt=concept.instance_prompt,
        negative_prompt=params.negative_prompt,
        guidance_scale=params.guidance_scale,
        inference_steps=params.inference_steps,
        sampler=params.sampler,
        height=params.height,
        width=params.width,
        batch_size=params.batch_size,
        precision=params.precision,
    )
    pipeline = load_generator(args.generator, args.base, prepare_device())
    with fresh_dir(args.out) as out_dir:
        counts = synthesize(
            pipeline, drawing, label=args.label, num_images=num_images, seed=params.seed, out_dir=out_dir
        )
    write_json(args.metrics, counts)


if __name__ == "__main__":
    run_stage(main)
