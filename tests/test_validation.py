"""The validation loss of DreamBooth: what it measures, that it changes no weight, and that it chooses a step."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small import build_small
from test_dreambooth import CLASS_IMAGES, CONCEPT, KNOBS, PHOTOS, is_same, tune, weights_of
from test_sampling import SIZE

from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams
from sdaug.common.sections import read_section
from sdaug.diffusion.conditioning import encode_prompts
from sdaug.diffusion.denoising import denoising_target
from sdaug.diffusion.latents import to_pixels
from sdaug.diffusion.schedules import noise_schedule
from sdaug.dreambooth.validation import MAX_PHOTOS, BestStep, prepare_validation

WATCHED = replace(KNOBS, training_steps=4, validation_loss_steps=1, ema_decay=0.5)
HELD_OUT, ROOT = CLASS_IMAGES, Path(__file__).parents[1]


def test_loss_is_that_of_fixed_timesteps_and_noise() -> None:
    pipeline = build_small()
    levels, prompt = noise_schedule(pipeline), encode_prompts(pipeline, ["a photo of a zwa"], **SIZE)[0]
    validation = prepare_validation(pipeline, PHOTOS, levels)
    ours = validation.loss(pipeline.unet, levels, prompt, torch.float32)
    assert validation.timesteps.unique().tolist() == [200, 400, 600, 800] and len(validation.noise) == 4 * len(PHOTOS)
    each = []
    with torch.no_grad():
        latents = pipeline.vae.encode(to_pixels(PHOTOS)).latent_dist.mean * pipeline.vae.config.scaling_factor
        for index, (noise, time) in enumerate(zip(validation.noise, validation.timesteps, strict=True)):
            photo, noise, time = latents[index % len(PHOTOS)][None], noise[None], time[None]
            predicted = pipeline.unet(levels.add_noise(photo, noise, time), time, prompt.tokens).sample
            each.append(float((predicted - denoising_target(levels, photo, noise, time)).square().mean()))
    assert ours == pytest.approx(sum(each) / len(each), rel=1e-4)


def test_loss_is_asked_of_a_class_with_photos_in_the_fold_only() -> None:
    stage = runpy.run_path(str(ROOT / "stages" / "dreambooth.py"))["held_out_photos"]
    photos = [Photo(id=str(fold), label="a", group=str(fold), split="train", fold=fold, sha256="") for fold in (0, 1)]
    stage.__globals__["read_manifest"] = lambda _: photos
    split = read_section(ROOT / "params.yaml", "split", SplitParams)
    settings = SimpleNamespace(params=WATCHED, split=replace(split, fold=1))
    assert [photo.id for photo in stage(Path(), "a", settings)] == ["1"]
    assert stage(Path(), "b", SimpleNamespace(params=KNOBS, split=split)) == []
    with pytest.raises(ValueError, match="validation_loss_steps: 1; b has no photo in the validation fold 1; leave it"):
        stage(Path(), "b", settings)


def test_a_large_class_is_thinned() -> None:
    pipeline = build_small()
    many = PHOTOS[:1].repeat(100, axis=0)
    assert len(prepare_validation(pipeline, many, noise_schedule(pipeline)).latents) == 4 * MAX_PHOTOS


@pytest.mark.parametrize("method", ["full", "lora"])
def test_validation_loss_is_in_each_row_and_changes_no_weight(method: str) -> None:
    knobs = replace(WATCHED, method=method)
    watched, rows = tune(knobs, validation=HELD_OUT)
    plain, _ = tune(replace(knobs, validation_loss_steps=None))
    assert [(step, sorted(row)) for step, row in rows] == [
        (step, ["instance_loss", "prior_loss", "validation_loss"]) for step in (1, 2, 3, 4)
    ]
    assert len({row["validation_loss"] for _, row in rows}) == 4
    assert is_same(weights_of(watched.unet), weights_of(plain.unet))


def test_selection_keeps_the_step_with_the_lowest_loss(capsys: pytest.CaptureFixture[str]) -> None:
    knobs = replace(WATCHED, learning_rate=0.05, selection="validation_loss")  # too high: the loss rises again
    chosen, rows = tune(knobs, validation=HELD_OUT)
    best = min(rows, key=lambda row: row[1]["validation_loss"])
    assert f"keeps step {best[0]}, validation loss" in capsys.readouterr().err
    levels, prompt = noise_schedule(chosen), encode_prompts(chosen, [CONCEPT.instance_prompt], **SIZE)[0]
    kept = prepare_validation(chosen, HELD_OUT, levels).loss(chosen.unet, levels, prompt, torch.float32)
    assert kept == pytest.approx(best[1]["validation_loss"], rel=1e-5)
    last, _ = tune(replace(knobs, selection="last"), validation=HELD_OUT)
    assert best[0] == 4 or not is_same(weights_of(chosen.unet), weights_of(last.unet))


def test_best_step_is_the_lowest_and_is_a_copy() -> None:
    best, weight = BestStep(), torch.zeros(1)
    for step, loss in enumerate((3.0, 1.0, float("nan"), 2.0), start=1):
        weight.fill_(step)
        best.offer(step, loss, [weight])
    again = BestStep()
    again.restore(best.state())
    assert (again.step, again.loss, float(again.weights[0])) == (2, 1.0, 2.0)


def test_selection_without_a_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="selection: 'validation_loss'; needs a validation loss; set validation_loss"):
        replace(KNOBS, selection="validation_loss")
