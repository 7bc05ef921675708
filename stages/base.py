"""base: take a Stable Diffusion from a hub or a folder, or train a tiny one on the study's own training photos."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from sdaug.classify.probe import probe_accuracies
from sdaug.data.prepared import read_photos
from sdaug.data.split_params import SplitParams
from sdaug.device import prepare_device
from sdaug.diffusion.base_params import TINY, BaseParams
from sdaug.diffusion.pipelines import download_pipeline, load_checkpoint, load_pipeline, save_pipeline
from sdaug.diffusion.pretraining import Report, reconstruct, squared_error, train_base
from sdaug.diffusion.sampling import draw_previews
from sdaug.diffusion.tiny import build_tiny
from sdaug.files import fresh_dir, write_csv, write_json
from sdaug.images import grid
from sdaug.manifest import Photo, read_manifest, training_photos
from sdaug.params import read_section
from sdaug.seeding import numpy_stream
from sdaug.stage import run_stage
from sdaug.tracking import track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    args = parser.parse_args()

    params = read_section(args.params, "base", BaseParams)
    split = read_section(args.params, "split", SplitParams)
    classes = read_section(args.params, "classes", list[str])
    photos = read_manifest(args.prepared)
    seen = training_photos(photos, protocol=split.protocol, fold=split.fold)
    images = read_photos(args.prepared, seen)
    device = prepare_device()

    history: list[dict[str, Any]] = [{"curve": "vae_squared_error", "step": 0, "value": 1.0}]
    with track({"base": asdict(params), "split": asdict(split)}, {"prepared": args.prepared}) as log:

        def report(step: int, values: Mapping[str, float]) -> None:
            log.metrics(step, values)
            history.extend({"curve": curve, "step": step, "value": value} for curve, value in values.items())

        pipeline = make_base(params, images, device, report)
        metrics = judge_vae(pipeline, images, seen, classes, params.seed)
        log.metrics(0, metrics)
        with fresh_dir(args.out) as out_dir:
            save_pipeline(pipeline, out_dir)
        log.picture("base.png", show_base(pipeline, images[:12], params.caption))
    write_json(args.metrics, metrics)
    write_csv(args.history, history)


def make_base(
    params: BaseParams, images: NDArray[np.uint8], device: torch.device, report: Report
) -> StableDiffusionPipeline:
    """The pipeline that the study starts from."""
    model = Path(params.model)
    if params.model == TINY:
        pipeline = build_tiny(params, size_pixels=images.shape[1]).to(device)
        train_base(pipeline, images, params, report=report)
    elif model.suffix == ".safetensors" and params.config is not None:
        pipeline = load_checkpoint(model, params.config)
    elif model.is_dir():
        pipeline = load_pipeline(model, device, variant=params.variant)
    else:
        pipeline = download_pipeline(params.model, params.revision, params.variant)
    return pipeline.to(device)


def show_base(pipeline: StableDiffusionPipeline, images: NDArray[np.uint8], caption: str) -> Image.Image:
    """Photos, what the VAE keeps of them, and what the base draws."""
    drawn = draw_previews(pipeline, caption, len(images), size_pixels=images.shape[1])
    rows = [("photos", list(images)), ("reconstructed", list(reconstruct(pipeline.vae, images))), ("drawn", drawn)]
    return grid(rows, tile_pixels=64, columns=len(images))


def judge_vae(
    pipeline: StableDiffusionPipeline, images: NDArray[np.uint8], seen: Sequence[Photo], classes: list[str], seed: int
) -> dict[str, float]:
    """What the VAE lets through: pixel error, and how well a classifier of photos still tells reconstructions apart."""
    decoded = reconstruct(pipeline.vae, images)
    labels = np.array([classes.index(photo.label) for photo in seen])
    order = numpy_stream(seed, "probe").permutation(len(images))
    of_photos, of_reconstructions = probe_accuracies(images, decoded, labels, order, classes, seed=seed)
    return {
        "vae_squared_error": squared_error(images, decoded),
        "probe_accuracy_on_photos": of_photos,
        "probe_accuracy_on_reconstructions": of_reconstructions,
    }


if __name__ == "__main__":
    run_stage(main)
