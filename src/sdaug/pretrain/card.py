"""The model card of the pretrained base: what it has seen, how it was trained, what it draws and what it cannot do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from sdaug.common.files import read_csv, write_text
from sdaug.common.images import grid
from sdaug.common.provenance import Seen
from sdaug.diffusion.sampling import draw_previews
from sdaug.pretrain.params import PretrainParams, WorldParams

SAMPLES = "samples.png"
NUM_SAMPLES, GUIDANCE_SCALE = 8, 2.0
PROMPTS = (
    "a photo of a teat end",
    "a close photo of a teat end",
    "a striped red ring on a smooth blue background",
    "a smooth yellow leaf on a rough green background",
    "a picture of many white and red flowers",
    "a photo of a cat",
    "a photo of gravel",
)


def write_card(
    folder: Path, pipeline: StableDiffusionPipeline, params: PretrainParams, losses: Sequence[Mapping[str, Any]]
) -> None:
    """Write README.md and a picture of samples to the folder of the pipeline."""
    rows = [
        (prompt, list(draw_previews(
            pipeline, prompt, NUM_SAMPLES, size_pixels=params.world.size_pixels, guidance_scale=GUIDANCE_SCALE
        )))
        for prompt in PROMPTS
    ]  # fmt: skip
    grid(rows, tile_pixels=params.world.size_pixels, columns=NUM_SAMPLES).save(
        folder / SAMPLES, format="PNG", optimize=True
    )
    write_text(folder / "README.md", card_text(pipeline, params, losses))


def card_text(pipeline: StableDiffusionPipeline, params: PretrainParams, losses: Sequence[Mapping[str, Any]]) -> str:
    """The card in Markdown, with the front matter that model hubs read."""
    world, last = params.world, {row["curve"]: row["value"] for row in losses}
    parts = {"UNet": pipeline.unet, "text encoder": pipeline.text_encoder, "VAE": pipeline.vae}
    sizes = ", ".join(
        f"{name} {sum(weight.numel() for weight in part.parameters()) / 1e6:.1f}" for name, part in parts.items()
    )
    photos = read_csv(world.photos) if world.photos else []
    sources = "\n".join(f"| {row['caption']} | {row['source']} | {row['licence']} |" for row in photos)
    scores = ", ".join(map(str, world.teat_scores))
    return f"""---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---

# A small Stable Diffusion for {world.size_pixels} pixels

A latent diffusion model (arXiv 2112.10752) in the layout of Stable Diffusion, small enough to fine-tune on two CPU
cores. Weights in millions: {sizes}.
It predicts velocity, with zero terminal signal (arXiv 2305.08891).

![Samples]({SAMPLES})

A row per prompt, at guidance scale {GUIDANCE_SCALE}.

## What it has seen

- {world.num_teats} simulated photos of teat ends (this project's phantom, seeds that no study uses), drawn with scores
  {scores}; no caption tells the score.
- {world.num_leaves} pictures of dead leaves and {world.num_objects} of one textured shape, with captions that name
  shape, texture and colour (after arXiv 2106.05963).
- {world.num_photos} cuts from {len(photos)} photos:

| caption | source | licence |
|---|---|---|
{sources}

## How it was trained

VAE: {params.vae.steps} steps of {params.vae.batch_size} crops, squared error {last.get("vae_squared_error", 0):.4f} of
pixels in [-1, 1]. UNet and text encoder: {params.unet.steps} steps of {params.unet.batch_size}, loss
{last.get("unet_loss", 0):.4f}. A moving average of the weights is kept. `losses.csv` has the curves,
`pretrained/params.yaml` all settings; `sdaug pretrain` trains it again.

## What it cannot do

- Draw anything that it has not seen: people, animals but one cat, text, scenes.
- Draw larger than {world.size_pixels} pixels.
- Tell the scores of teat ends apart by words: that is what DreamBooth is for.
"""


def describe_world(world: WorldParams) -> Seen:
    """The images of a pretraining, in words and by kind."""
    num_procedural = world.num_leaves + world.num_objects
    num_sources = len(read_csv(world.photos)) if world.photos else 0
    kinds = (
        (world.num_teats, f"{world.num_teats:,} simulated teat ends {_scores(world.teat_scores)}"),
        (num_procedural, f"{num_procedural:,} procedural pictures"),
        (world.num_photos, f"{world.num_photos:,} cuts from {num_sources} free photos"),
    )
    return Seen(
        summary=_listed([text for number, text in kinds if number]) + "; none of this study",
        counts={
            "teats": world.num_teats,
            "leaves": world.num_leaves,
            "objects": world.num_objects,
            "photo_cuts": world.num_photos,
            "photos": num_sources,
        },
        num_adapted=0,
    )


def _scores(scores: Sequence[int]) -> str:
    first, last = min(scores), max(scores)
    if len(scores) > 2 and set(scores) == set(range(first, last + 1)):
        return f"of scores {first} to {last}"
    return f"of score {_listed(list(map(str, scores)))}"


def _listed(words: Sequence[str]) -> str:
    """Words with commas between them, and `and` before the last one."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
