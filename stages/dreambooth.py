"""dreambooth: fine-tune the base on the training photos of one rare class, once for each seed of the generators."""

import _source  # noqa: F401

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdaug.common.checkpoint import Checkpoint, resumable_dir, work_key
from sdaug.common.device import find_device, prepare_device
from sdaug.common.files import fresh_dir, read_json, write_csv, write_json
from sdaug.common.images import grid
from sdaug.common.manifest import (
    Photo,
    photo_files,
    read_manifest,
    read_photos,
    training_photos,
    validation_photos,
)
from sdaug.common.params import ConceptParams, SplitParams
from sdaug.common.precision import precision_warning, resolve_precision
from sdaug.common.provenance import CHOOSERS, write_record
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.tracking import track
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.sampling import draw_previews
from sdaug.dreambooth.adapters import save_generator
from sdaug.dreambooth.class_images import read_class_images
from sdaug.dreambooth.fine_tuning import train_dreambooth
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.dreambooth.training_checks import check_prompts, check_targets, learning_rate_warning

Images = NDArray[np.uint8]


def main() -> None:
    args = parse_args()
    settings = Settings(
        base_dir=args.base,
        prepared_dir=args.prepared,
        params=read_section(args.params, "dreambooth", DreamBoothParams),
        concept=read_section(args.params, f"concepts.{args.label}", ConceptParams),
        class_prompt=read_section(args.params, "class_images.prompt", str),
        split=read_section(args.params, "split", SplitParams),
    )
    check_settings(args, settings)
    seen = class_photos(args.prepared, args.label, settings.split)
    photos = read_photos(args.prepared, seen)
    held_out = held_out_photos(args.prepared, args.label, settings)
    class_images = read_class_images(args.class_images)
    # A folder for each draw; plots of one draw are one file. Draws that a stopped run has finished are there already.
    prepare_device()
    # Of the photos only those of the class: with each class the whole folder would be read again.
    ids = {"seen": [photo.id for photo in seen], "held_out": [photo.id for photo in held_out]}
    files = photo_files(args.prepared, [*seen, *held_out])
    key = work_key({"label": args.label, **asdict(settings), **ids}, [args.base, args.class_images, *files])
    with resumable_dir(args.out, key) as out_dir, fresh_dir(args.history) as history_dir:
        for draw in read_section(args.params, "generator_seeds", list[int]):
            history_file = out_dir / f".{draw}.json"
            if not (out_dir / str(draw)).is_dir():
                train_generator(args.label, draw, settings, photos, class_images, seen, held_out, out_dir)
            write_csv(history_dir / f"{draw}.csv", read_json(history_file)["rows"])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all draws share."""

    base_dir: Path
    prepared_dir: Path
    params: DreamBoothParams
    concept: ConceptParams
    class_prompt: str
    split: SplitParams


def train_generator(
    label: str,
    draw: int,
    settings: Settings,
    photos: Images,
    class_images: Images,
    seen: Sequence[Photo],
    held_out: Sequence[Photo],
    out_dir: Path,
) -> None:
    """Train one generator, log it, and write it to a folder of `out_dir`; photos and images are `(N, H, W, 3)`."""
    params, concept = settings.params, settings.concept
    pipeline = load_pipeline(settings.base_dir, prepare_device())
    # What is logged: curves, and a picture that gets a row per preview.
    shown = [("photos", list(photos)), ("base, class prompt", list(class_images))]
    knobs = {"dreambooth": asdict(params), "concept": asdict(concept), "split": asdict(settings.split), "draw": draw}
    data = {"base": settings.base_dir, "prepared": settings.prepared_dir}
    with track(knobs, data, part=f"draw {draw}") as log:

        def preview(step: int) -> None:
            """Add a row to the logged picture that shows how the class emerges during training."""
            if params.num_preview_images:
                drawn = draw_previews(
                    pipeline,
                    concept.instance_prompt,
                    params.num_preview_images,
                    size_pixels=photos.shape[1],
                    guidance_scale=params.preview_guidance_scale,
                )
                shown.append((f"step {step}", drawn))
                log.picture(f"{label}.png", grid(shown, tile_pixels=64, columns=params.num_preview_images))

        # Train; the previews before and after show what the training adds.
        preview(0)
        checkpoint = Checkpoint(out_dir / f".{draw}.pt")
        history = train_dreambooth(
            pipeline,
            photos,
            class_images if params.prior_preservation else None,
            params=params,
            concept=concept,
            class_prompt=settings.class_prompt,
            seed=draw,
            report=log.metrics,
            validation_images=read_photos(settings.prepared_dir, held_out) if held_out else None,
            preview=preview,
            checkpoint=checkpoint,
        )
        # The folder gets its name when it is whole, its losses before that.
        write_json(out_dir / f".{draw}.json", {"rows": history})
        scratch = out_dir / f".{draw}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        save_generator(pipeline, settings.base_dir, scratch, params)
        write_record(scratch, seen)  # in place of the base's, if that was copied along
        if params.selection == "validation_loss":
            write_record(scratch, held_out, name=CHOOSERS)
        scratch.replace(out_dir / str(draw))
        checkpoint.clear()
        # The pipeline now has the weights that are kept, the moving average if there is one.
        preview(params.training_steps)
        log.history(history)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--class", dest="label", required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--class-images", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    return parser.parse_args()


def class_photos(prepared_dir: Path, label: str, split: SplitParams) -> list[Photo]:
    """The photos of the class that a generator may see."""
    return [photo for photo in training_photos(read_manifest(prepared_dir), split) if photo.label == label]


def held_out_photos(prepared_dir: Path, label: str, settings: Settings) -> list[Photo]:
    """The photos of the class for the validation loss; none if there shall be no such loss.

    Raises:
        ValueError: the class has no photo in the validation fold.
    """
    steps, split = settings.params.validation_loss_steps, settings.split
    if steps is None:
        return []
    found = [photo for photo in validation_photos(read_manifest(prepared_dir), fold=split.fold) if photo.label == label]
    if not found:
        raise ValueError(
            f"params.yaml: dreambooth.validation_loss_steps: {steps}; {label} has no photo in the validation fold "
            f"{split.fold}; leave it empty, or choose another split.fold"
        )
    return found


def check_settings(args: argparse.Namespace, settings: Settings) -> None:
    """Check prompts, LoRA targets, precision and learning rate, before anything slow."""
    # Of the other classes' prompts only this check depends: the class whose prompt changes runs it.
    concepts = read_section(args.params, "concepts", dict[str, ConceptParams])
    check_prompts(args.base, concepts, settings.class_prompt if settings.params.prior_preservation else None)
    check_targets(args.base, settings.params)
    precision, device = settings.params.precision, find_device()
    resolve_precision(precision, device)  # refuses float16 on a CPU
    warnings = (learning_rate_warning(settings.params), precision_warning(precision, device))
    for warning in filter(None, warnings):
        print(f"warning: {warning}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_stage(main)
