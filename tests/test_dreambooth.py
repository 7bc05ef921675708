"""DreamBooth: what is trained, reproducibility, and each step against a plain implementation."""

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.training_utils import compute_snr
from numpy.typing import NDArray
from small import build_small
from torch import nn

from sdaug.common.params import ConceptParams
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.conditioning import encode_prompts
from sdaug.diffusion.schedules import noise_schedule
from sdaug.dreambooth import fine_tuning
from sdaug.dreambooth.fine_tuning import Preview, train_dreambooth
from sdaug.dreambooth.objective import Half, Prompts, encode_set, half_losses
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.dreambooth.validation import prepare_validation

KNOBS = DreamBoothParams(
    method="full",
    lora_rank=2,
    lora_alpha=None,
    lora_targets=["to_q", "to_k", "to_v", "to_out.0"],
    train_text_encoder=False,
    prior_preservation=True,
    prior_loss_weight=1.0,
    training_steps=2,
    batch_size=2,
    gradient_accumulation_steps=1,
    gradient_checkpointing=False,
    optimizer="adamw",
    learning_rate=1.0e-3,
    weight_decay=0.0,
    schedule="constant",
    warmup_steps=0,
    max_grad_norm=1.0,
    min_snr_gamma=None,
    noise_offset=0.0,
    ema_decay=None,
    precision="fp32",
    flip_horizontal=True,
    preview_steps=0,
    preview_guidance_scale=1.0,
    num_preview_images=0,
    validation_loss_steps=None,
    selection="last",
)
CONCEPT = ConceptParams(instance_prompt="a photo of a zwa")
PHOTOS, CLASS_IMAGES = (np.random.default_rng(seed).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8) for seed in (0, 1))

Weights = Mapping[str, torch.Tensor]
Rows = list[tuple[int, dict[str, float]]]


def weights_of(model: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def tune(
    knobs: DreamBoothParams = KNOBS,
    preview: Preview | None = None,
    pipeline: StableDiffusionPipeline | None = None,
    *,
    seed: int = 0,
    validation: NDArray[np.uint8] | None = None,
) -> tuple[StableDiffusionPipeline, Rows]:
    pipeline = pipeline or build_small()
    rows: Rows = []
    train_dreambooth(
        pipeline,
        PHOTOS,
        CLASS_IMAGES if knobs.prior_preservation else None,
        params=knobs,
        concept=CONCEPT,
        class_prompt="a photo",
        seed=seed,
        report=lambda step, values: rows.append((step, dict(values))),
        preview=preview,
        validation_images=validation,
    )
    return pipeline, rows


@pytest.fixture(scope="module")
def fresh() -> StableDiffusionPipeline:
    return build_small()


@pytest.fixture(scope="module")
def tuned() -> tuple[StableDiffusionPipeline, Rows]:
    return tune()


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_tuning_leaves_vae_and_text_encoder_as_they_were(
    tuned: tuple[StableDiffusionPipeline, Rows], fresh: StableDiffusionPipeline, part: str
) -> None:
    assert is_same(weights_of(getattr(tuned[0], part)), weights_of(getattr(fresh, part)))


def test_tuning_changes_the_unet(tuned: tuple[StableDiffusionPipeline, Rows], fresh: StableDiffusionPipeline) -> None:
    assert not is_same(weights_of(tuned[0].unet), weights_of(fresh.unet))


def test_tuning_twice_gives_the_same_weights(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert is_same(weights_of(tuned[0].unet), weights_of(tune()[0].unet))


@pytest.mark.parametrize(
    "change",
    [
        {"prior_loss_weight": 0.0},
        {"prior_preservation": False},
        {"gradient_accumulation_steps": 2},
        {"weight_decay": 0.5},
        {"schedule": "cosine"},
        {"schedule": "linear"},
        {"warmup_steps": 2},
        {"max_grad_norm": 1.0e-6},
        {"min_snr_gamma": 1.0},
        {"noise_offset": 0.5},
        {"ema_decay": 0.9},
        {"precision": "bf16"},
        {"flip_horizontal": False},
        {"train_text_encoder": True},
    ],
    ids=str,
)
def test_knob_reaches_the_training(tuned: tuple[StableDiffusionPipeline, Rows], change: dict[str, Any]) -> None:
    assert not is_same(weights_of(tuned[0].unet), weights_of(tune(replace(KNOBS, **change))[0].unet))


def test_each_draw_is_trained_differently(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert not is_same(weights_of(tuned[0].unet), weights_of(tune(seed=1)[0].unet))


def test_gradient_checkpointing_changes_no_result(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    other = weights_of(tune(replace(KNOBS, gradient_checkpointing=True))[0].unet)
    for name, tensor in weights_of(tuned[0].unet).items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)


def test_text_encoder_learns_if_asked(fresh: StableDiffusionPipeline) -> None:
    pipeline, _ = tune(replace(KNOBS, train_text_encoder=True))
    assert not is_same(weights_of(pipeline.text_encoder), weights_of(fresh.text_encoder))


def test_lora_leaves_the_base_as_it_was(fresh: StableDiffusionPipeline) -> None:
    pipeline, _ = tune(replace(KNOBS, method="lora"))
    after = {name.replace(".base_layer", ""): tensor for name, tensor in weights_of(pipeline.unet).items()}
    assert is_same(weights_of(fresh.unet), after)
    moved = [name for name, tensor in after.items() if "lora_B" in name and tensor.abs().sum() > 0]
    assert moved and len(moved) == sum("lora_B" in name for name in after)


def test_lora_weights_are_float32_under_autocast() -> None:
    pipeline, _ = tune(replace(KNOBS, method="lora", precision="bf16"))
    kinds = {("lora" in name, weight.dtype) for name, weight in pipeline.unet.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_reports_name_both_halves(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert [(step, sorted(values)) for step, values in tuned[1]] == [(2, ["instance_loss", "prior_loss"])]


def test_unet_is_left_ready_to_draw(tuned: tuple[StableDiffusionPipeline, Rows]) -> None:
    assert not tuned[0].unet.training


def test_previews_come_in_between_and_change_nothing() -> None:
    steps: list[int] = []
    knobs = replace(KNOBS, training_steps=5, preview_steps=2, ema_decay=0.9)
    watched, _ = tune(knobs, preview=steps.append)
    assert steps == [2, 4]
    assert is_same(weights_of(watched.unet), weights_of(tune(replace(knobs, preview_steps=0))[0].unet))


def test_loss_that_is_not_finite_stops_the_run_and_names_the_step() -> None:
    pipeline = build_small()
    pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(
        ValueError, match=r"dreambooth: step 1: the loss is not finite; no weight has changed yet.*precision"
    ):
        tune(pipeline=pipeline)


@pytest.mark.parametrize("trains_text", [False, True])
def test_steps_need_neither_the_vae_nor_a_frozen_text_encoder(
    monkeypatch: pytest.MonkeyPatch, trains_text: bool
) -> None:
    """Off the device, to a place that holds no values at all."""
    monkeypatch.setattr(fine_tuning, "SPARE", torch.device("meta"))
    pipeline, knobs = build_small(), replace(KNOBS, train_text_encoder=trains_text)
    halves = [Half("instance", encode_set(pipeline, PHOTOS, knobs), CONCEPT.instance_prompt, 1.0)]
    validation = prepare_validation(pipeline, CLASS_IMAGES, noise_schedule(pipeline))
    loop = fine_tuning.FineTuningLoop(pipeline, halves, knobs, seed=0, validation=validation)
    for step in (1, 2):
        loop.step(step)
    assert np.isfinite([*loop.report().values(), *loop.validate(2).values()]).all()
    places = {name: getattr(pipeline, name).device.type for name in ("vae", "text_encoder", "unet")}
    assert places == {"vae": "meta", "text_encoder": "cpu" if trains_text else "meta", "unet": "cpu"}


def test_vae_and_text_encoder_come_back_to_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, events = build_small(), list[str]()
    spare = torch.device("cpu", 0)  # another name of the same memory
    monkeypatch.setattr(fine_tuning, "SPARE", spare)
    for name in ("vae", "text_encoder"):
        note = lambda place, name=name: events.append(f"{name} {'leaves' if place is spare else 'returns'}")  # noqa: E731
        monkeypatch.setattr(getattr(pipeline, name), "to", note)
    tune(replace(KNOBS, training_steps=3, preview_steps=2), lambda step: events.append(f"preview {step}"), pipeline)
    leave, back = (["vae " + word, "text_encoder " + word] for word in ("leaves", "returns"))
    assert events == [*leave, *back, "preview 2", *leave, *back]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_missing_bitsandbytes_is_named() -> None:
    with pytest.raises(ValueError, match="optimizer: 'adamw_8bit'; needs bitsandbytes.*or use adamw"):
        replace(KNOBS, optimizer="adamw_8bit")


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("min_snr_gamma", [None, 5.0])
@pytest.mark.parametrize("prior_preservation", [True, False])
def test_a_step_is_the_textbook_step(
    fresh: StableDiffusionPipeline, kind: str, min_snr_gamma: float | None, prior_preservation: bool
) -> None:
    """Same loss and gradients as plain diffusers modules with equal weights, images, noise and timesteps, uncached."""
    pipeline = StableDiffusionPipeline(**fresh.components, requires_safety_checker=False)
    pipeline.scheduler = DDIMScheduler.from_config(fresh.scheduler.config, prediction_type=kind)
    knobs = replace(KNOBS, min_snr_gamma=min_snr_gamma, prior_loss_weight=0.5, flip_horizontal=False)
    unet, vae, scheduler = pipeline.unet.requires_grad_(True), pipeline.vae, pipeline.scheduler
    sets = [(PHOTOS, CONCEPT.instance_prompt, 1.0), (CLASS_IMAGES, "a photo", 0.5)][: 1 + prior_preservation]

    halves = [Half("", encode_set(pipeline, images, knobs), prompt, weight) for images, prompt, weight in sets]
    prompts = Prompts(pipeline, halves, knobs, torch.float32)()
    stream = torch.Generator().manual_seed(5)
    losses = half_losses(unet, noise_schedule(pipeline), halves, prompts, knobs, stream, torch.float32)
    ours = sum(half.weight * loss for half, loss in zip(halves, losses, strict=True))
    unet.zero_grad()
    ours.backward()
    our_gradients = [weight.grad.clone() for weight in unet.parameters()]

    stream = torch.Generator().manual_seed(5)
    latents = []
    for images, _, _ in sets:
        chosen = torch.randint(len(images), (2,), generator=stream)
        pixels = torch.from_numpy(images[chosen.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with torch.no_grad():
            posterior = vae.encode(pixels).latent_dist
        drawn = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=stream)
        latents.append(drawn * vae.config.scaling_factor)
    clean = torch.cat(latents)
    noise = torch.randn(clean.shape, generator=stream)
    timesteps = torch.randint(1000, (len(clean),), generator=stream)
    texts = [prompt for _, prompt, _ in sets for _ in range(2)]
    ids = pipeline.tokenizer(
        texts, padding="max_length", max_length=pipeline.tokenizer.model_max_length, return_tensors="pt"
    )
    with torch.no_grad():
        embeddings = pipeline.text_encoder(ids.input_ids)[0]
    predicted = unet(scheduler.add_noise(clean, noise, timesteps), timesteps, embeddings).sample
    target = noise if kind == "epsilon" else scheduler.get_velocity(clean, noise, timesteps)
    each = (predicted - target).square().mean(dim=(1, 2, 3))
    if min_snr_gamma is not None:
        snr = compute_snr(scheduler, timesteps)
        each = each * snr.clamp(max=min_snr_gamma) / (snr if kind == "epsilon" else snr + 1.0)
    textbook = each[:2].mean() + (0.5 * each[2:].mean() if prior_preservation else 0.0)
    unet.zero_grad()
    textbook.backward()

    torch.testing.assert_close(ours, textbook, rtol=1e-4, atol=1e-5)
    for mine, weight in zip(our_gradients, unet.parameters(), strict=True):
        assert float((mine - weight.grad).norm()) <= 2e-3 * float(weight.grad.norm()) + 1e-9


def test_all_steps_are_those_of_a_plain_loop() -> None:
    """Gradient accumulation, prior weight, clipping, warm-up, AdamW and the moving average, written out."""
    knobs = replace(
        KNOBS, training_steps=4, gradient_accumulation_steps=2, prior_loss_weight=0.3, warmup_steps=2, ema_decay=0.5,
        weight_decay=0.1, max_grad_norm=0.5, flip_horizontal=False,
    )  # fmt: skip
    ours = weights_of(tune(knobs)[0].unet)

    pipeline = build_small()
    weights = list(pipeline.unet.requires_grad_(True).to(memory_format=torch.channels_last).train().parameters())
    sets = [(PHOTOS, CONCEPT.instance_prompt, 1.0), (CLASS_IMAGES, "a photo", 0.3)]
    halves = [Half("", encode_set(pipeline, images, knobs), prompt, weight) for images, prompt, weight in sets]
    prompts = Prompts(pipeline, halves, knobs, torch.float32)()
    stream = torch.Generator().manual_seed(derive_seed(0, CONCEPT.instance_prompt))
    levels = noise_schedule(pipeline)
    optimizer = torch.optim.AdamW(weights, lr=knobs.learning_rate, weight_decay=0.1, fused=False, foreach=False)
    average = [weight.detach().clone() for weight in weights]
    for step in range(4):
        optimizer.zero_grad()
        for _ in range(2):
            instance, prior = half_losses(pipeline.unet, levels, halves, prompts, knobs, stream, torch.float32)
            ((instance + 0.3 * prior) / 2).backward()
        norm = torch.cat([weight.grad.flatten() for weight in weights]).norm()
        for weight in weights:
            weight.grad *= min(1.0, 0.5 / (float(norm) + 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = knobs.learning_rate * min(1.0, step / 2)
        optimizer.step()
        decay = min(0.5, 1.0 - (1.0 + step) ** -0.75)
        average = [
            decay * kept + (1.0 - decay) * weight.detach() for kept, weight in zip(average, weights, strict=True)
        ]
    for name, mean in zip(dict(pipeline.unet.named_parameters()), average, strict=True):
        torch.testing.assert_close(ours[name], mean, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("is_trained", [False, True])
def test_prompts_are_embedded_as_the_pipeline_does_it(fresh: StableDiffusionPipeline, is_trained: bool) -> None:
    halves = [Half("", encode_set(fresh, PHOTOS, KNOBS), prompt, 1.0) for prompt in ("a photo of a zwa", "a photo")]
    knobs = replace(KNOBS, train_text_encoder=is_trained)
    wanted = [one.tokens for one in encode_prompts(fresh, [half.prompt for half in halves], height=16, width=16)]
    torch.testing.assert_close(Prompts(fresh, halves, knobs, torch.float32)().tokens, torch.cat(wanted))


def test_cached_latents_have_the_distribution_of_uncached_ones(fresh: StableDiffusionPipeline) -> None:
    cached = encode_set(fresh, PHOTOS, replace(KNOBS, flip_horizontal=False))
    stream = torch.Generator().manual_seed(0)
    ours = torch.stack([cached.draw(torch.tensor([1]), stream)[0] for _ in range(400)])
    pixels = torch.from_numpy(PHOTOS[1:2]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.no_grad():
        posterior = fresh.vae.encode(pixels).latent_dist
    theirs = torch.stack([posterior.sample(stream)[0] for _ in range(400)]) * fresh.vae.config.scaling_factor
    deviation = float(theirs.std(dim=0).mean())
    assert float((ours.mean(dim=0) - theirs.mean(dim=0)).abs().mean()) < 0.2 * deviation
    assert float(ours.std(dim=0).mean()) == pytest.approx(deviation, rel=0.05)


def test_step_that_float16_skips_moves_neither_weights_nor_learning_rate_nor_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A scaler as for float16, and gradients that are infinite in the second of three steps."""
    bad_step, rows = 2, []

    class Watched(fine_tuning.FineTuningLoop):
        def step(self, step: int) -> None:
            self.number = step
            super().step(step)
            rows.append(
                {
                    "learning_rate": self._schedule.get_last_lr()[0],
                    "weights": self._weights[0].detach().clone(),
                    "average": self._average.shadow_params[0].clone(),
                    "average_steps": self._average.optimization_step,
                }
            )
            self.number = 0

    loops: list[Watched] = []
    make_scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *_, **__: make_scaler("cpu"))
    monkeypatch.setattr(
        fine_tuning, "FineTuningLoop", lambda *args, **kwargs: loops.append(Watched(*args, **kwargs)) or loops[0]
    )
    pipeline = build_small()
    pipeline.unet.requires_grad_(True).conv_out.bias.register_hook(
        lambda gradient: gradient * float("inf") if loops[0].number == bad_step else gradient
    )
    knobs = replace(KNOBS, training_steps=3, schedule="linear", ema_decay=0.9)
    _, reports = tune(knobs, pipeline=pipeline)

    first, skipped, last = rows
    for key in ("learning_rate", "average_steps"):
        assert first[key] == skipped[key] != last[key]
    for key in ("weights", "average"):
        assert torch.equal(first[key], skipped[key]) and not torch.equal(skipped[key], last[key])
    assert reports[-1][1]["skipped_steps"] == 1
