"""Parameters of the smallest pipeline that tests build."""

from dataclasses import replace
from pathlib import Path

from sdaug.base.params import TINY, BaseParams
from sdaug.common.sections import read_section

SMALLEST = replace(
    read_section(Path(__file__).parents[1] / "params.yaml", "base", BaseParams),
    model=TINY,
    adapt_steps=0,
    vae_channels=[16, 32],
    latent_channels=4,
    unet_channels=[16, 32],
    vae_crop_pixels=16,
)
