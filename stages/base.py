"""base: load a Stable Diffusion, and adapt it to the study's own training photos if params.yaml says so."""

import _source  # noqa: F401

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdaug.base.adapting import LOSS
from sdaug.base.params import BaseParams
from sdaug.base.source import make_base
from sdaug.common.checkpoint import resumable_dir, work_key
from sdaug.common.device import prepare_device
from sdaug.common.files import write_csv, write_json
from sdaug.common.images import grid
from sdaug.common.manifest import Photo, read_manifest, read_photos, training_photos
from sdaug.common.params import SplitParams
from sdaug.common.provenance import CHOOSERS, RECORD, SEEN, SeenPhoto, find_seen, read_record, write_record, write_seen
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.tracking import track
from sdaug.diffusion.latents import reconstruct
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.diffusion.sampling import draw_previews
from sdaug.diffusion.versions import Pipeline

NUM_SHOWN = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--seen", type=Path, required=True, help="JSON file for what the base has seen")
    args = parser.parse_args()

    # The photos that generators may see; a base that does not adapt needs only those for the picture.
    params = read_section(args.params, "base", BaseParams)
    split = read_section(args.params, "split", SplitParams)
    photos = training_photos(read_manifest(args.prepared), split)
    images = read_photos(args.prepared, photos if params.sees_photos else photos[:NUM_SHOWN])

    history = list[dict[str, Any]]()
    knobs, device = {"base": asdict(params), "split": asdict(split)}, prepare_device()
    inputs = [args.prepared, *([Path(params.model)] if Path(params.model).exists() else [])]
    with (
        track(knobs, {"prepared": args.prepared}) as log,
        resumable_dir(args.out, work_key(knobs, inputs)) as out_dir,
    ):

        def report(step: int, values: Mapping[str, float]) -> None:
            log.metrics(step, values)
            history.extend({"curve": curve, "step": step, "value": value} for curve, value in values.items())

        # Load it, and adapt it.
        base = make_base(params, images, device, report, work_dir=out_dir)
        save_pipeline(base.pipeline, out_dir)
        if base.source:
            write_json(out_dir / "source.json", base.source)
        write_record(out_dir, record_of(params, photos))
        if (Path(params.model) / CHOOSERS).is_file():  # a generator of another study
            write_record(out_dir, read_record(Path(params.model), name=CHOOSERS), name=CHOOSERS)
        seen = find_seen(params.model, photos, read_record(out_dir))
        write_seen(out_dir / SEEN, seen)
        # Photos, reconstructions and drawings in rows: blur of the VAE and faults of the UNet show apart.
        log.picture("base.png", show_base(base.pipeline, images[:NUM_SHOWN], params.caption))
        # A base that does not adapt has no curve, but a CSV file needs a row: the loss of predicting zero.
        if not history:
            history.append({"curve": LOSS, "step": 0, "value": 1.0})
        log.history(history)
    write_csv(args.history, history)
    write_seen(args.seen, seen)


def record_of(params: BaseParams, photos: Sequence[Photo]) -> list[SeenPhoto]:
    """The study's photos that the base has seen; a loaded base may be from another run of the study."""
    model = Path(params.model)
    earlier = read_record(model) if (model / RECORD).is_file() else []
    return [*earlier, *photos] if params.sees_photos else earlier


def show_base(pipeline: Pipeline, images: NDArray[np.uint8], caption: str) -> Image.Image:
    """A picture of photos, their VAE reconstructions, and images drawn by the base."""
    drawn = draw_previews(pipeline, caption, len(images), size_pixels=images.shape[1])
    rows = [("photos", list(images)), ("reconstructed", list(reconstruct(pipeline.vae, images))), ("drawn", drawn)]
    return grid(rows, tile_pixels=64, columns=len(images))


if __name__ == "__main__":
    run_stage(main)
