"""The whole pretraining: images, VAE, latents, UNet and text encoder, and the folder that is shipped."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.common.checkpoint import Checkpoint
from sdaug.common.files import fresh_dir, write_csv
from sdaug.common.provenance import SEEN, write_seen
from sdaug.diffusion.latents import encode_images
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.weight_training import Loop, run_loop
from sdaug.pretrain.card import describe_world, write_card
from sdaug.pretrain.collection import collect
from sdaug.pretrain.loops import UnetLoop, VaeLoop
from sdaug.pretrain.networks import build_network
from sdaug.pretrain.params import PretrainParams, key_of
from sdaug.pretrain.whitening import whiten_latents

REPORT_STEPS = 100


def pretrain(params: PretrainParams, work_dir: Path, out_dir: Path, device: torch.device) -> None:
    """Train, or go on where an interrupted run stopped, and write the pipeline in half precision to `out_dir`.

    Raises:
        ValueError: a loss is not finite.
    """
    images, captions = collect(params.world, work_dir)
    size = params.world.size_pixels
    pipeline = build_network(params.network, captions, size_pixels=size, seed=params.unet.seed).to(device)
    losses = train_vae(pipeline, images, params, work_dir / "vae.pt")
    losses += train_unet(pipeline, images, captions, params, work_dir / "unet.pt")
    # Half precision halves the download; stages load it as float32, which the samples show.
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.half()
    with fresh_dir(out_dir) as folder:
        save_pipeline(pipeline, folder)
        write_csv(folder / "losses.csv", losses)
        write_seen(folder / SEEN, describe_world(params.world))
        write_card(folder, load_pipeline(folder, device), params, losses)


def train_vae(
    pipeline: StableDiffusionPipeline, images: NDArray[np.uint8], params: PretrainParams, checkpoint: Path
) -> list[dict[str, Any]]:
    """Train the VAE on images `(N, H, W, 3)` and make its latents white; returns its losses."""
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    key = key_of(params.world, params.network, params.vae, params.crop_pixels)
    saved = _checkpoint(checkpoint, params)
    losses = _train(VaeLoop(pipeline, pixels, params), params.vae.steps, saved, key=key, title="VAE")
    whiten_latents(pipeline.vae, encode_images(pipeline.vae, images, flip_horizontal=False))
    return losses


def train_unet(
    pipeline: StableDiffusionPipeline,
    images: NDArray[np.uint8],
    captions: list[str],
    params: PretrainParams,
    checkpoint: Path,
) -> list[dict[str, Any]]:
    """Train UNet and text encoder on images `(N, H, W, 3)` and their captions; returns their losses."""
    latents = encode_images(pipeline.vae, images, flip_horizontal=True)
    pipeline.vae.register_to_config(scaling_factor=round(1.0 / latents.spread(), 6))
    # The empty caption comes last.
    tokens = pipeline.tokenizer(
        [*captions, ""],
        padding="max_length",
        max_length=params.network.max_tokens,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    loop = UnetLoop(pipeline, latents.scaled(pipeline.vae.config.scaling_factor), tokens, params)
    return _train(loop, params.unet.steps, _checkpoint(checkpoint, params), key=key_of(params), title="UNet")


def _checkpoint(path: Path, params: PretrainParams) -> Checkpoint:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Checkpoint(path, every_seconds=params.checkpoint_seconds)


def _train(loop: Loop, num_steps: int, checkpoint: Checkpoint, *, key: str, title: str) -> list[dict[str, Any]]:
    """Run the loop; returns a row per curve and report."""
    rows = run_loop(
        loop,
        num_steps,
        checkpoint,
        report_steps=REPORT_STEPS,
        title=title,
        where=f"pretrain: {title}",
        way_out="lower its learning_rate",
        key=key,
    )
    return [{"curve": name, "step": step, "value": value} for step, means in rows for name, value in means.items()]
