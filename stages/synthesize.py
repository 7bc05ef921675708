"""synthesize: draw the images by which one rare class falls short of the largest class, with each of its generators."""

import _source  # noqa: F401

import argparse
from dataclasses import asdict
from pathlib import Path

from sdaug.common.checkpoint import resumable_dir, work_key
from sdaug.common.device import prepare_device
from sdaug.common.files import fresh_dir, read_json, write_json, write_text
from sdaug.common.manifest import count_labels, missing_counts, photo_files, read_manifest, training_photos
from sdaug.common.params import ConceptParams, SplitParams
from sdaug.common.sections import convert, read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import MANIFEST, SyntheticImage, write_synthetic
from sdaug.diffusion.generators import load_generator
from sdaug.synthesize.params import SynthesizeParams
from sdaug.synthesize.starts import read_sources, start_photos
from sdaug.synthesize.synthesis import Order, synthesize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--class", dest="label", required=True)
    parser.add_argument("--classes", type=Path, required=True, help="JSON file of all classes, in their order")
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    args = parser.parse_args()

    # How many images the class lacks, beside the photos that generators may see.
    params = read_section(args.params, "synthesize", SynthesizeParams)
    split = read_section(args.params, "split", SplitParams)
    classes = convert(read_json(args.classes), dict[str, list[str]], f"{args.classes}:")["classes"]
    seen = training_photos(read_manifest(args.prepared), split)
    missing = missing_counts(count_labels(seen, classes))[args.label]
    num_images = params.count(missing)
    if num_images < 1:
        draw_none(args, missing)
        return

    # Draw them with the generator of each draw.
    concept = read_section(args.params, f"concepts.{args.label}", ConceptParams)
    size_pixels = read_section(args.params, "prepare.size_pixels", int)
    images, counts = list[SyntheticImage](), dict[str, dict[str, dict[str, int]]]()
    seeds = read_section(args.params, "generator_seeds", list[int])
    prepare_device()
    settings = {"params": asdict(params), "prompt": concept.instance_prompt, "size": size_pixels, "seeds": seeds}
    settings |= {"label": args.label, "num_images": num_images}
    # Of the photos only those that are used: with each class the whole folder would be read again.
    used = [
        photo for drawing in params.drawings().values() for photo in start_photos(seen, classes, args.label, drawing)
    ]
    settings["photos"] = [photo.id for photo in used]
    key = work_key(settings, [args.generator, args.base, *photo_files(args.prepared, used)])
    with resumable_dir(args.out, key) as out_dir:
        for draw in seeds:
            generator = load_generator(args.generator / str(draw), args.base, prepare_device())
            counts[str(draw)] = {}
            for variant, drawing in params.drawings().items():
                order = Order(
                    label=args.label,
                    draw=draw,
                    variant=variant,
                    prompt=concept.instance_prompt,
                    drawing=drawing,
                    size_pixels=size_pixels,
                    num_images=num_images,
                    sources=read_sources(args.prepared, seen, classes, args.label, drawing, draw),
                )
                drawn, counts[str(draw)][variant] = synthesize(generator, order, out_dir)
                images += drawn
        write_synthetic(out_dir, images)
    # Faulty images that were drawn again are counted by draw, variant and reason.
    write_json(args.metrics, counts)


def draw_none(args: argparse.Namespace, missing: int) -> None:
    """A class can be rare among all photos and lack nothing in one fold: it gets no images, and the study goes on."""
    print(
        f"{args.label}: {missing} images short of the largest class, without the validation fold, so there are none to "
        "draw; set synthesize.min_images in params.yaml to draw some all the same"
    )
    with fresh_dir(args.out) as out_dir:
        write_text(out_dir / MANIFEST, "id\n")
    write_json(args.metrics, {})


if __name__ == "__main__":
    run_stage(main)
