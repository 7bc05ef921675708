"""Drawing: an image is a function of its seed, wherever in a batch it is."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from smallest import SMALLEST

from sdaug.diffusion.sampler_names import SamplerName
from sdaug.diffusion.sampling import SAMPLERS, Drawing, draw_images
from sdaug.diffusion.tiny import build_tiny

DRAWING = Drawing(
    prompt="a photo of a zwa",
    negative_prompt="",
    guidance_scale=2.0,
    inference_steps=2,
    sampler="dpm_solver",
    height=16,
    width=16,
    batch_size=2,
)
SEEDS = [11, 12, 13]


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return build_tiny(SMALLEST, size_pixels=16)


def draw(
    pipeline: StableDiffusionPipeline, drawing: Drawing = DRAWING, seeds: list[int] = SEEDS
) -> dict[int, NDArray[np.uint8]]:
    return dict(draw_images(pipeline, drawing, seeds, title="test"))


def is_near(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    return np.abs(first.astype(int) - second.astype(int)).max() <= 1


@pytest.fixture(scope="module")
def drawn(pipeline: StableDiffusionPipeline) -> dict[int, NDArray[np.uint8]]:
    return draw(pipeline)


def test_each_seed_has_its_image_in_order(drawn: dict[int, NDArray[np.uint8]]) -> None:
    assert list(drawn) == SEEDS and {image.shape for image in drawn.values()} == {(16, 16, 3)}


def test_drawing_twice_gives_the_same_bytes(
    pipeline: StableDiffusionPipeline, drawn: dict[int, NDArray[np.uint8]]
) -> None:
    assert all(np.array_equal(image, drawn[seed]) for seed, image in draw(pipeline).items())


def test_image_does_not_depend_on_its_place_in_the_batch(
    pipeline: StableDiffusionPipeline, drawn: dict[int, NDArray[np.uint8]]
) -> None:
    assert all(is_near(image, drawn[seed]) for seed, image in draw(pipeline, seeds=SEEDS[::-1]).items())


def test_image_does_not_depend_on_the_size_of_the_batch(
    pipeline: StableDiffusionPipeline, drawn: dict[int, NDArray[np.uint8]]
) -> None:
    other = draw(pipeline, replace(DRAWING, batch_size=4))
    assert all(is_near(image, drawn[seed]) for seed, image in other.items())


def test_image_depends_on_its_seed(drawn: dict[int, NDArray[np.uint8]]) -> None:
    assert not is_near(drawn[11], drawn[12])


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_sampler_draws_an_image_that_is_not_of_one_shade(pipeline: StableDiffusionPipeline, name: SamplerName) -> None:
    image = draw(pipeline, replace(DRAWING, sampler=name, batch_size=1, inference_steps=4), [11])[11]
    assert image.std() > 0


def test_every_name_has_its_sampler() -> None:
    assert set(SAMPLERS) == set(get_args(SamplerName))
