"""An untrained pipeline of a few narrow layers, and the parameters of a base that does not adapt."""

from dataclasses import replace
from pathlib import Path

from diffusers import StableDiffusionPipeline

from sdaug.base.params import BaseParams
from sdaug.common.sections import read_section
from sdaug.pretrain.networks import build_network
from sdaug.pretrain.params import NetworkParams

NETWORK = NetworkParams(
    vae_channels=[16, 32],
    latent_channels=4,
    unet_channels=[16, 32],
    attention_levels=1,
    text_width=128,
    text_layers=2,
    num_merges=0,
    max_tokens=48,
)
BASE = replace(
    read_section(Path(__file__).parents[1] / "params.yaml", "base", BaseParams), model="some/base", adapt_steps=0
)


def build_small(*, size_pixels: int = 16, seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline that draws noise; its tokenizer has a token per letter."""
    return build_network(NETWORK, [], size_pixels=size_pixels, seed=seed)
