"""A trained VAE, before and after its latents are made white."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from small import build_small
from test_pretrain import SMALL

from sdaug.diffusion.latents import encode_images, reconstruct
from sdaug.fidelity.vae import squared_error
from sdaug.pretrain.loops import VaeLoop
from sdaug.pretrain.whitening import whiten_latents

STEPS = 60
SHADES = np.random.default_rng(0).integers(0, 256, (6, 1, 1, 3), dtype=np.uint8)
IMAGES = np.broadcast_to(SHADES, (6, 16, 16, 3)).copy()
PARAMS = replace(
    SMALL, vae=replace(SMALL.vae, steps=STEPS, batch_size=4, learning_rate=5.0e-3, warmup_steps=10, ema_decay=0.0)
)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    pipeline = build_small()
    loop = VaeLoop(pipeline, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()), PARAMS)
    for step in range(1, STEPS + 1):
        loop.step(step)
    loop.training.finish()
    return pipeline.vae


def test_training_lowers_the_error_of_the_vae(vae: AutoencoderKL) -> None:
    before = squared_error(IMAGES, reconstruct(build_small().vae, IMAGES))
    assert squared_error(IMAGES, reconstruct(vae, IMAGES)) < before


def test_whitening_gives_each_channel_unit_variance_and_reconstructs_the_same(vae: AutoencoderKL) -> None:
    vae = copy.deepcopy(vae)
    before = reconstruct(vae, IMAGES)
    whiten_latents(vae, encode_images(vae, IMAGES, flip_horizontal=False))
    latents = encode_images(vae, IMAGES, flip_horizontal=False)
    values = latents.mean.movedim(1, 0).flatten(1)
    variances = values.var(dim=1, correction=0) + latents.std.square().mean(dim=(0, 2, 3))
    assert squared_error(before, reconstruct(vae, IMAGES)) < 1.0e-4
    assert torch.allclose(variances, torch.ones(len(values)), atol=1.0e-3)
    assert torch.allclose(values.mean(dim=1), torch.zeros(len(values)), atol=1.0e-3)
