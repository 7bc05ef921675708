"""SDXL: what it is conditioned on, and that it samples, denoises and learns as in diffusers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor2_0
from numpy.typing import NDArray
from small import XL_POOLED, XL_WIDTHS, build_small, build_small_xl
from test_dreambooth import CLASS_IMAGES, CONCEPT, KNOBS, PHOTOS, is_same, tune, weights_of
from test_sampling import DRAWING, PROMPT, SEEDS, SIZE

from sdaug.common.params import Drawing, SamplerName
from sdaug.common.precision import autocast
from sdaug.diffusion import sampling
from sdaug.diffusion.conditioning import choose, embed, encode_prompts, encoder_inputs
from sdaug.diffusion.latents import to_pixels
from sdaug.diffusion.sampling import Start, cast_weights, decode_latents, draw_latents, draw_pixels, guided_prompts
from sdaug.diffusion.schedules import SAMPLERS, noise_schedule
from sdaug.diffusion.versions import vae_dtype
from sdaug.dreambooth.objective import Half, Prompts, encode_set, half_losses
from sdaug.dreambooth.params import DreamBoothParams

TALL = {"height": 32, "width": 16}


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    return build_small_xl()


def plain_copy(
    pipeline: StableDiffusionXLPipeline, sampler: SamplerName, kind: type = StableDiffusionXLPipeline
) -> StableDiffusionXLPipeline:
    """A pipeline of diffusers with the same parts and one of our samplers."""
    plain = kind(**pipeline.components, add_watermarker=False)
    plain.scheduler = SAMPLERS[sampler].from_config(pipeline.scheduler.config, clip_sample=False)
    plain.set_progress_bar_config(disable=True)
    return plain


def ours(
    pipeline: StableDiffusionXLPipeline, drawing: Drawing, size: dict[str, int], start: Start | None = None
) -> NDArray[np.float32]:
    prompts = guided_prompts(pipeline, PROMPT, drawing, **size)
    latents = draw_latents(pipeline, drawing, prompts, SEEDS, **size, start=start)
    return decode_latents(pipeline, latents, drawing).clamp(0, 1).numpy()


def streams() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


@pytest.mark.parametrize("negative_prompt", ["", "dark"])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
@pytest.mark.parametrize("name", get_args(SamplerName))
def test_images_are_those_of_the_pipeline_itself(
    pipeline: StableDiffusionXLPipeline, name: SamplerName, guidance_scale: float, negative_prompt: str
) -> None:
    drawing = replace(
        DRAWING, sampler=name, inference_steps=5, guidance_scale=guidance_scale, negative_prompt=negative_prompt
    )
    theirs = plain_copy(pipeline, name)(
        [PROMPT] * 3,
        negative_prompt=[negative_prompt] * 3 if negative_prompt else None,
        guidance_scale=guidance_scale,
        num_inference_steps=drawing.inference_steps,
        **TALL,
        generator=streams(),
        output_type="np",
    ).images
    np.testing.assert_allclose(ours(pipeline, drawing, TALL), theirs, atol=2e-4)


@pytest.mark.parametrize("forces_zeros", [True, False])
def test_empty_negative_prompt_is_what_the_pipeline_makes_of_none(
    pipeline: StableDiffusionXLPipeline, forces_zeros: bool
) -> None:
    plain = plain_copy(pipeline, "euler")
    plain.register_to_config(force_zeros_for_empty_prompt=forces_zeros)
    _, tokens, _, pooled = plain.encode_prompt(PROMPT, device=torch.device("cpu"))
    (empty,) = encode_prompts(plain, [""], **SIZE)
    assert torch.equal(empty.tokens, tokens) and torch.equal(empty.pooled, pooled)
    assert bool(empty.tokens.any()) != forces_zeros


@pytest.mark.parametrize("name", ["dpm_solver", "euler", "ddim"])
def test_images_from_photos_are_those_of_the_image_to_image_pipeline(
    pipeline: StableDiffusionXLPipeline, name: SamplerName
) -> None:
    drawing = replace(DRAWING, sampler=name, inference_steps=5, guidance_scale=3.0)
    means = pipeline.vae.encode(to_pixels(PHOTOS)).latent_dist.mean.detach() * pipeline.vae.config.scaling_factor
    theirs = plain_copy(pipeline, name, StableDiffusionXLImg2ImgPipeline)(
        [PROMPT] * 3,
        image=means,
        strength=0.6,
        guidance_scale=3.0,
        num_inference_steps=5,
        original_size=(16, 16),
        target_size=(16, 16),
        generator=streams(),
        output_type="np",
    ).images
    np.testing.assert_allclose(ours(pipeline, drawing, SIZE, Start(photos=PHOTOS, strength=0.6)), theirs, atol=2e-4)


def test_prompt_is_both_encoders_penultimate_states_and_the_seconds_projection(
    pipeline: StableDiffusionXLPipeline,
) -> None:
    (found,) = encode_prompts(pipeline, [PROMPT], height=24, width=40)
    outputs = []
    for tokenizer, encoder in (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    ):
        ids = tokenizer(PROMPT, padding="max_length", return_tensors="pt").input_ids
        with torch.no_grad():
            outputs.append(encoder(ids, output_hidden_states=True))
    assert len(outputs[0].hidden_states) == 4  # the embeddings, then one of each layer
    assert torch.equal(found.tokens, torch.cat([one.hidden_states[2] for one in outputs], dim=-1))
    assert torch.equal(found.pooled, outputs[1].text_embeds)
    assert found.tokens.shape == (1, 48, sum(XL_WIDTHS)) and found.pooled.shape == (1, XL_POOLED)
    assert found.time_ids.tolist() == [[24, 40, 0, 0, 24, 40]]


def test_trained_encoders_embed_as_frozen_ones(pipeline: StableDiffusionXLPipeline) -> None:
    wanted = encode_prompts(pipeline, [PROMPT, "a photo"], **SIZE)
    found = embed(pipeline, encoder_inputs(pipeline, [PROMPT, "a photo"]), **SIZE)
    for index, one in enumerate(wanted):
        part = found[index : index + 1]
        for name in ("tokens", "pooled", "time_ids"):
            torch.testing.assert_close(getattr(part, name), getattr(one, name))
    assert found.tokens.requires_grad and found.pooled.requires_grad


@pytest.mark.parametrize("build", [build_small, build_small_xl])
def test_each_image_gets_the_prompt_that_was_chosen_for_it(build: Callable[[], StableDiffusionXLPipeline]) -> None:
    first, second = encode_prompts(build(), ["a", "b"], **SIZE)
    chosen = choose(torch.tensor([True, False, True]), first, second)
    for row, one in enumerate((first, second, first)):
        assert torch.equal(chosen.tokens[row], one.tokens[0])
        assert (chosen.pooled is None and one.pooled is None) or torch.equal(chosen.pooled[row], one.pooled[0])


def test_images_depend_on_sizes_and_pooled_embedding(pipeline: StableDiffusionXLPipeline) -> None:
    drawing = replace(DRAWING, guidance_scale=1.0)
    prompts = guided_prompts(pipeline, PROMPT, drawing, **SIZE)
    wanted = draw_latents(pipeline, drawing, prompts, SEEDS, **SIZE)
    for change in ({"time_ids": prompts.time_ids + 512}, {"pooled": -prompts.pooled}):
        assert not torch.allclose(draw_latents(pipeline, drawing, replace(prompts, **change), SEEDS, **SIZE), wanted)


def test_sizes_keep_their_precision() -> None:
    cast = encode_prompts(build_small_xl(), [PROMPT], height=1333, width=16)[0].to(torch.bfloat16)
    assert cast.tokens.dtype == cast.pooled.dtype == torch.bfloat16
    assert cast.time_ids.tolist() == [[1333, 16, 0, 0, 1333, 16]]


@pytest.mark.parametrize(("force_upcast", "kept"), [(True, torch.float32), (False, torch.bfloat16)])
def test_vae_stays_float32_unless_its_config_says_that_16_bits_are_enough(
    monkeypatch: pytest.MonkeyPatch, force_upcast: bool, kept: torch.dtype
) -> None:
    pipeline, drawing = build_small_xl(force_upcast=force_upcast), replace(DRAWING, precision="bf16")
    cast_weights(pipeline, "bf16")
    assert (pipeline.unet.dtype, pipeline.vae.dtype) == (torch.bfloat16, kept)
    autocasts: list[torch.dtype] = []

    def watched(device: torch.device, dtype: torch.dtype) -> torch.autocast:
        autocasts.append(dtype)
        return autocast(device, dtype)

    monkeypatch.setattr(sampling, "autocast", watched)
    start = Start(photos=PHOTOS, strength=0.5)
    images = draw_pixels(pipeline, PROMPT, drawing, SEEDS, **SIZE, title="test", start=start)
    assert images.std() > 0 and set(autocasts) == {torch.float32}


def test_vae_of_other_versions_follows_the_unet() -> None:
    pipeline = build_small()
    assert pipeline.vae.config.force_upcast  # as all that do not say otherwise
    assert (
        vae_dtype(pipeline, torch.float16) == torch.float16
        and vae_dtype(build_small_xl(), torch.float16) == torch.float32
    )


def script_loss(
    pipeline: StableDiffusionXLPipeline,
    unet: UNet2DConditionModel,
    sets: Sequence[tuple[NDArray[np.uint8], str]],
    weight: float,
    batch_size: int,
    stream: torch.Generator,
) -> torch.Tensor:
    """The loss of diffusers' example script for a batch of each set, from its definition; draws are in our order."""
    scheduler, pixels = DDIMScheduler.from_config(pipeline.scheduler.config), []
    latents, tokens, pooled = [], [], []
    for images, prompt in sets:
        chosen = torch.randint(len(images), (batch_size,), generator=stream).numpy()
        pixels = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with torch.no_grad():
            posterior = pipeline.vae.encode(pixels).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=stream)
            latents.append((posterior.mean + posterior.std * noise) * 0.13025)
            states = []
            for tokenizer, encoder in (
                (pipeline.tokenizer, pipeline.text_encoder),
                (pipeline.tokenizer_2, pipeline.text_encoder_2),
            ):
                ids = tokenizer(prompt, padding="max_length", max_length=48, truncation=True, return_tensors="pt")
                output = encoder(ids.input_ids, output_hidden_states=True, return_dict=False)
                states.append(output[-1][-2])
            tokens.append(torch.cat(states, dim=-1).repeat(batch_size, 1, 1))
            pooled.append(output[0].repeat(batch_size, 1))
    clean = torch.cat(latents)
    noise = torch.randn(clean.shape, generator=stream)
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(clean),), generator=stream)
    size = images.shape[1]
    added = {
        "text_embeds": torch.cat(pooled),
        "time_ids": torch.tensor([[size, size, 0, 0, size, size]]).float().repeat(len(clean), 1),
    }
    noisy = scheduler.add_noise(clean, noise, timesteps)
    predicted = unet(noisy, timesteps, torch.cat(tokens), added_cond_kwargs=added).sample
    target = noise if scheduler.config.prediction_type == "epsilon" else scheduler.get_velocity(clean, noise, timesteps)
    terms = [
        torch.nn.functional.mse_loss(one.float(), other.float())
        for one, other in zip(predicted.split(batch_size), target.split(batch_size), strict=True)
    ]
    return terms[0] + (weight * terms[1] if len(terms) == 2 else 0.0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("has_prior", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_loss_and_gradients_are_those_of_the_example_script(kind: str, has_prior: bool, batch_size: int) -> None:
    pipeline, plain = build_small_xl(), build_small_xl()
    pipeline.scheduler.register_to_config(prediction_type=kind)
    knobs = replace(KNOBS, flip_horizontal=False, batch_size=batch_size)
    sets = [(PHOTOS, CONCEPT.instance_prompt), (CLASS_IMAGES, "a photo")][: 1 + has_prior]

    halves = [
        Half("", encode_set(pipeline, images, knobs), prompt, weight)
        for (images, prompt), weight in zip(sets, (1.0, 0.5), strict=False)
    ]
    prompts = Prompts(pipeline, halves, knobs, torch.float32)()
    levels, stream = noise_schedule(pipeline), torch.Generator().manual_seed(5)
    losses = half_losses(pipeline.unet, levels, halves, prompts, knobs, stream, torch.float32)
    loss = sum(half.weight * one for half, one in zip(halves, losses, strict=True))
    loss.backward()

    plain.unet.set_attn_processor(AttnProcessor2_0())  # of diffusers, with a prompt per image
    wanted = script_loss(pipeline, plain.unet, sets, 0.5, batch_size, torch.Generator().manual_seed(5))
    wanted.backward()
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(pipeline.unet.parameters(), plain.unet.parameters(), strict=True):
        assert float((mine.grad - theirs.grad).norm()) <= 2e-3 * float(theirs.grad.norm()) + 1e-9


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("trains_text", [False, True])
def test_only_what_is_to_learn_changes(method: str, trains_text: bool) -> None:
    knobs = replace(KNOBS, method=method, train_text_encoder=trains_text, gradient_checkpointing=True)
    before = build_small_xl()
    tuned, rows = tune(knobs, pipeline=build_small_xl())
    assert all(np.isfinite(value) for _, row in rows for value in row.values())
    for part in ("unet", "text_encoder", "text_encoder_2", "vae"):
        learns = part == "unet" or (trains_text and part != "vae")
        found = weights_of(getattr(tuned, part))
        kept = {name.replace(".base_layer", ""): value for name, value in found.items() if "lora" not in name}
        assert is_same(weights_of(getattr(before, part)), kept) == (not learns or method == "lora"), part
        assert any(bool(value.any()) for name, value in found.items() if "lora_B" in name) == (
            learns and method == "lora"
        ), part


def test_training_twice_gives_the_same_weights() -> None:
    knobs: DreamBoothParams = replace(KNOBS, train_text_encoder=True)
    first, second = (tune(knobs, pipeline=build_small_xl())[0] for _ in range(2))
    assert is_same(weights_of(first.unet), weights_of(second.unet))
    assert is_same(weights_of(first.text_encoder_2), weights_of(second.text_encoder_2))
