"""Sampling: an image depends on its seed, not on its batch, and matches plain diffusers."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from numpy.typing import NDArray
from small import build_small

from sdaug.common.params import Drawing, PrecisionName, SamplerName, SynthesisDrawing
from sdaug.diffusion.latents import to_pixels
from sdaug.diffusion.sampling import (
    Start,
    cast_weights,
    decode_latents,
    draw_images,
    draw_latents,
    draw_pixels,
    draw_previews,
    guided_prompts,
    map_on_cores,
    one_ahead,
)
from sdaug.diffusion.schedules import SAMPLERS

DRAWING = Drawing(
    negative_prompt="",
    guidance_scale=2.0,
    inference_steps=2,
    sampler="dpm_solver",
    batch_size=2,
    precision="fp32",
)
FROM_NOISE = SynthesisDrawing(**asdict(DRAWING), start="noise", strength=None)
PROMPT = "a photo of a zwa"
SIZE = {"height": 16, "width": 16}
SEEDS = [11, 12, 13]


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return build_small()


def draw(
    pipeline: StableDiffusionPipeline, drawing: Drawing = DRAWING, seeds: list[int] = SEEDS
) -> dict[int, NDArray[np.uint8]]:
    return dict(zip(seeds, draw_pixels(pipeline, PROMPT, drawing, seeds, **SIZE, title="test"), strict=True))


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


@pytest.fixture(params=[1, 2, 3])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads that torch uses in the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_image_does_not_depend_on_the_number_of_cores(
    pipeline: StableDiffusionPipeline, drawn: dict[int, NDArray[np.uint8]], num_threads: int
) -> None:
    again = draw(pipeline, replace(DRAWING, batch_size=1))
    assert torch.get_num_threads() == num_threads
    assert all(is_near(image, drawn[seed]) for seed, image in again.items())


def test_cores_are_shared_by_what_runs_side_by_side(num_threads: int) -> None:
    found = list(map_on_cores(lambda item: (item, torch.get_num_threads()), range(2)))
    assert found == [(0, num_threads // min(2, num_threads)), (1, num_threads // min(2, num_threads))]


def test_what_fails_on_a_core_is_raised_and_the_rest_is_left(num_threads: int) -> None:
    done = []

    def work(item: int) -> None:
        done.append(item)
        if item == 0:
            raise ValueError("no")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="no"):
        list(map_on_cores(work, range(1000)))
    assert len(done) < 900 and torch.get_num_threads() == num_threads


def test_image_depends_on_its_seed(drawn: dict[int, NDArray[np.uint8]]) -> None:
    assert not is_near(drawn[11], drawn[12])


def with_scheduler(pipeline: StableDiffusionPipeline, **changes: Any) -> StableDiffusionPipeline:
    """The same pipeline with other settings of its scheduler."""
    other = StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    other.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **changes)
    return other


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_sampler_draws_an_image_that_is_not_of_one_shade(pipeline: StableDiffusionPipeline, name: SamplerName) -> None:
    pipeline = with_scheduler(pipeline, rescale_betas_zero_snr=name != "pndm")
    image = draw(pipeline, replace(DRAWING, sampler=name, batch_size=1, inference_steps=4), [11])[11]
    assert image.std() > 0


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
@pytest.mark.parametrize("name", get_args(SamplerName))
def test_images_are_those_of_the_pipeline_itself(
    pipeline: StableDiffusionPipeline, name: SamplerName, guidance_scale: float, kind: str
) -> None:
    drawing = replace(
        DRAWING, sampler=name, inference_steps=5, guidance_scale=guidance_scale, negative_prompt="dark", batch_size=3
    )
    pipeline = with_scheduler(pipeline, prediction_type=kind, rescale_betas_zero_snr=name != "pndm")
    latents = draw_latents(pipeline, drawing, guided_prompts(pipeline, PROMPT, drawing, **SIZE), SEEDS, **SIZE)
    ours = decode_latents(pipeline, latents, drawing).clamp(0, 1).numpy()
    plain = StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    plain.scheduler = SAMPLERS[name].from_config(pipeline.scheduler.config)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        [PROMPT] * 3,
        negative_prompt=[drawing.negative_prompt] * 3,
        guidance_scale=guidance_scale,
        num_inference_steps=drawing.inference_steps,
        **SIZE,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    ).images
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_other_precisions_draw_nearly_the_same(
    pipeline: StableDiffusionPipeline, drawn: dict[int, NDArray[np.uint8]], precision: PrecisionName
) -> None:
    other = draw(pipeline, replace(DRAWING, precision=precision))
    assert max(np.abs(other[seed].astype(int) - drawn[seed]).mean() for seed in SEEDS) < 8


def test_half_precision_needs_a_gpu(pipeline: StableDiffusionPipeline) -> None:
    if pipeline.device.type == "cpu":
        with pytest.raises(ValueError, match="precision: 'fp16' needs a GPU"):
            draw(pipeline, replace(DRAWING, precision="fp16"))


def test_weights_that_are_cast_draw_nearly_the_same(drawn: dict[int, NDArray[np.uint8]]) -> None:
    cast, drawing = build_small(), replace(DRAWING, precision="bf16")
    cast_weights(cast, drawing.precision)
    assert {part.dtype for part in (cast.unet, cast.vae)} == {torch.bfloat16}
    other = draw(cast, drawing)
    assert max(np.abs(other[seed].astype(int) - drawn[seed]).mean() for seed in SEEDS) < 8


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_not_finite_is_told_apart(value: str) -> None:
    broken = build_small()
    broken.vae.decoder.conv_out.bias.data[0] = float(value)
    images = list(draw_images(broken, PROMPT, DRAWING, SEEDS, **SIZE, title="test"))
    assert [image.seed for image in images] == SEEDS and not any(image.is_finite for image in images)
    with pytest.raises(ValueError, match=r"photo: image 1 of \d \(seed \d+\): values that are not finite.*fp32"):
        draw_pixels(broken, PROMPT, DRAWING, SEEDS, **SIZE, title="photo")
    assert len(draw_previews(broken, PROMPT, 2, size_pixels=16)) == 2
    assert {image.pixels.dtype for image in images} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("num_items", [0, 1, 3])
def test_next_item_is_begun_before_a_result_is_used(num_items: int) -> None:
    begun, used = list[int](), list[tuple[int, int]]()

    def work(item: int) -> int:
        begun.append(item)
        return item

    for item in one_ahead(work, range(num_items)):
        used.append((item, len(begun)))
    assert used == [(item, min(item + 2, num_items)) for item in range(num_items)]


def test_pndm_is_refused_for_a_new_base_before_the_unet_runs(
    pipeline: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.unet, "forward", lambda *_, **__: pytest.fail("the UNet ran"))
    with pytest.raises(ValueError, match="sampler: 'pndm'; the base's noise ends in pure noise"):
        draw(pipeline, replace(DRAWING, sampler="pndm", inference_steps=4))


@pytest.mark.parametrize("strength", [0.4, 1.0])
@pytest.mark.parametrize("name", [name for name in get_args(SamplerName) if name != "pndm"])
def test_images_from_photos_are_those_of_the_image_to_image_pipeline(
    pipeline: StableDiffusionPipeline, name: SamplerName, strength: float
) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    drawing = replace(DRAWING, sampler=name, inference_steps=5, guidance_scale=1.0, batch_size=3)
    start = Start(photos=photos, strength=strength)
    prompts = guided_prompts(pipeline, PROMPT, drawing, **SIZE)
    latents = draw_latents(pipeline, drawing, prompts, SEEDS, **SIZE, start=start)
    ours = decode_latents(pipeline, latents, drawing).clamp(0, 1).numpy()
    plain = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    plain.scheduler = SAMPLERS[name].from_config(pipeline.scheduler.config, clip_sample=False)
    plain.set_progress_bar_config(disable=True)
    # Latents as input, since the pipeline samples the posterior of photos, and we take its mean.
    means = pipeline.vae.encode(to_pixels(photos)).latent_dist.mean.detach() * pipeline.vae.config.scaling_factor
    theirs = plain(
        [PROMPT] * 3,
        image=means,
        strength=strength,
        guidance_scale=1.0,
        num_inference_steps=drawing.inference_steps,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    ).images
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_last_batch_of_photos_is_filled_up() -> None:
    photos = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert Start(photos=photos, strength=0.5).part(4, 3).photos[:, 0, 0, 0].tolist() == [4, 4, 4]
    assert Start(photos=photos, strength=0.5).part(1, 3).photos[:, 0, 0, 0].tolist() == [1, 2, 3]
