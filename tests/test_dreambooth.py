"""DreamBooth: only the UNet learns, the same each time, and in the noise schedule of the base."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from smallest import SMALLEST
from torch import nn

from sdaug.diffusion.dreambooth import draw_class_images, train_dreambooth
from sdaug.diffusion.dreambooth_params import ConceptParams, DreamBoothParams
from sdaug.diffusion.tiny import build_tiny

PARAMS = Path(__file__).parents[1] / "params.yaml"
KNOBS = DreamBoothParams(
    class_prompt="a photo",
    num_class_images=3,
    class_guidance_scale=1.0,
    class_inference_steps=2,
    prior_loss_weight=1.0,
    training_steps=2,
    learning_rate=1.0e-3,
    batch_size=2,
    max_grad_norm=1.0,
    flip_horizontal=True,
    num_preview_images=0,
    seed=0,
)
CONCEPT = ConceptParams(instance_prompt="a photo of a zwa")
PHOTOS, CLASS_IMAGES = (np.random.default_rng(seed).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8) for seed in (0, 1))

Weights = Mapping[str, torch.Tensor]
Rows = list[tuple[int, dict[str, float]]]


def weights_of(model: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def tune(knobs: DreamBoothParams = KNOBS, concept: ConceptParams = CONCEPT) -> tuple[StableDiffusionPipeline, Rows]:
    pipeline = build_tiny(SMALLEST, size_pixels=16)
    rows: Rows = []
    train_dreambooth(
        pipeline,
        PHOTOS,
        CLASS_IMAGES,
        params=knobs,
        concept=concept,
        report=lambda step, values: rows.append((step, dict(values))),
    )
    return pipeline, rows


@pytest.fixture(scope="module")
def tuned() -> tuple[StableDiffusionPipeline, Rows]:
    return tune()


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_tuning_leaves_vae_and_text_encoder_as_they_were(
    tuned: tuple[StableDiffusionPipeline, Rows], part: str
) -> None:
    fresh = build_tiny(SMALLEST, size_pixels=16)
    assert is_same(weights_of(getattr(tuned[0], part)), weights_of(getattr(fresh, part)))


def test_tuning_changes_the_unet(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert not is_same(weights_of(tuned[0].unet), weights_of(build_tiny(SMALLEST, size_pixels=16).unet))


def test_tuning_twice_gives_the_same_weights(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert is_same(weights_of(tuned[0].unet), weights_of(tune()[0].unet))


def test_prior_weight_matters(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    without, _ = tune(replace(KNOBS, prior_loss_weight=0.0))
    assert not is_same(weights_of(tuned[0].unet), weights_of(without.unet))


def test_last_step_is_reported_with_both_losses(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert [(step, sorted(values)) for step, values in tuned[1]] == [(2, ["instance_loss", "prior_loss"])]


def test_unet_is_left_ready_to_draw(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert not tuned[0].unet.training


def test_class_images_follow_from_the_seed() -> None:
    first, second = (draw_class_images(build_tiny(SMALLEST, size_pixels=16), KNOBS, size_pixels=16) for _ in range(2))
    assert first.shape == (3, 16, 16, 3) and np.array_equal(first, second)


def test_drawing_class_images_does_not_change_the_tuning(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    pipeline = build_tiny(SMALLEST, size_pixels=16)
    draw_class_images(pipeline, KNOBS, size_pixels=16)
    train_dreambooth(pipeline, PHOTOS, CLASS_IMAGES, params=KNOBS, concept=CONCEPT, report=lambda *_: None)
    assert is_same(weights_of(tuned[0].unet), weights_of(pipeline.unet))
