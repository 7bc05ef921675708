"""synthesize: draw the images by which one rare class falls short of the largest class, with each of its generators."""

import _source  # noqa: F401

import argparse
import shutil
from dataclasses import asdict, replace
from functools import partial
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
from sdaug.synthesize.shards import (
    WHOLE,
    Counts,
    Shard,
    collect_shards,
    is_drawn,
    read_shard,
    shards_dir,
    write_shard,
)
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
    parser.add_argument("--shard", metavar="NUMBER/TOTAL", help="draw a part only, kept until all parts are there")
    args = parser.parse_args()

    shard = read_shard(args.shard) if args.shard else None
    # How many images the class lacks, beside the photos that generators may see.
    params = read_section(args.params, "synthesize", SynthesizeParams)
    split = read_section(args.params, "split", SplitParams)
    classes = convert(read_json(args.classes), dict[str, list[str]], f"{args.classes}:")["classes"]
    seen = training_photos(read_manifest(args.prepared), split)
    missing = missing_counts(count_labels(seen, classes))[args.label]
    num_images = params.count(missing)
    if num_images < 1:
        if not shard:
            draw_none(args, missing)
        return

    # Draw them with the generator of each draw: all, those of a shard, or none where all shards are there.
    concept = read_section(args.params, f"concepts.{args.label}", ConceptParams)
    size_pixels = read_section(args.params, "prepare.size_pixels", int)
    seeds, drawings = read_section(args.params, "generator_seeds", list[int]), params.drawings()

    def draw_share(shard: Shard, out_dir: Path) -> tuple[list[SyntheticImage], Counts]:
        images, counts = list[SyntheticImage](), Counts()
        sizes = [drawing.batch_size for _ in seeds for drawing in drawings.values()]
        shares = iter(shard.share(num_images, sizes))
        for draw in seeds:
            indices = {variant: share for variant, share in zip(drawings, shares, strict=False) if share}
            generator = load_generator(args.generator / str(draw), args.base, prepare_device()) if indices else None
            for variant, share in indices.items():
                order = Order(
                    label=args.label,
                    draw=draw,
                    variant=variant,
                    prompt=concept.instance_prompt,
                    drawing=drawings[variant],
                    size_pixels=size_pixels,
                    num_images=num_images,
                    sources=read_sources(args.prepared, seen, classes, args.label, drawings[variant], draw),
                )
                drawn, counts.setdefault(str(draw), {})[variant] = synthesize(generator, order, out_dir, share)
                images += drawn
        return images, counts

    prepare_device()
    facts = asdict(replace(params, shards=1))
    settings = {"params": facts, "prompt": concept.instance_prompt, "size": size_pixels, "seeds": seeds}
    settings |= {"label": args.label, "num_images": num_images}
    # Of the photos only those that are used: with each class the whole folder would be read again.
    used = [photo for drawing in drawings.values() for photo in start_photos(seen, classes, args.label, drawing)]
    settings["photos"] = [photo.id for photo in used]
    hashed = partial(work_key, settings, [args.generator, args.base, *photo_files(args.prepared, used)])
    # Machines of any kind draw shards.
    key, shared_key = hashed(), hashed(of_machine=False) if params.shards > 1 or shard else ""
    if shard:
        if not is_drawn(shard.folder(args.out), shared_key):
            with resumable_dir(shard.folder(args.out), key) as out_dir:
                write_shard(out_dir, *draw_share(shard, out_dir), shared_key)
        return
    with resumable_dir(args.out, key) as out_dir:
        found = collect_shards(args.out, params.shards, shared_key, out_dir) if shared_key else None
        images, counts = found or draw_share(WHOLE, out_dir)
        write_synthetic(out_dir, images)
    # Faulty images that were drawn again are counted by draw, variant and reason.
    write_json(args.metrics, counts)
    shutil.rmtree(shards_dir(args.out), ignore_errors=True)


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
