"""The tiny base: tokenizer, initial weights, training and latent whitening."""

from dataclasses import replace

import numpy as np
import torch
from smallest import SMALLEST

from sdaug.base.pretraining import train_base, train_vae, whiten_latents
from sdaug.base.tiny import build_tiny, build_tokenizer
from sdaug.diffusion.latents import encode_images, reconstruct
from sdaug.fidelity.vae import squared_error

BASE = replace(SMALLEST, vae_steps=60, vae_batch_size=4, vae_learning_rate=5.0e-3, unet_steps=1, unet_batch_size=2)
SHADES = np.random.default_rng(0).integers(0, 256, (6, 1, 1, 3), dtype=np.uint8)
IMAGES = np.broadcast_to(SHADES, (6, 16, 16, 3)).copy()


def test_different_prompts_have_different_ids() -> None:
    prompts = ["a photo of a zwa teat end", "a photo of a zwb teat end", "a photo of a teat end", ""]
    ids = build_tokenizer()(prompts, padding="max_length", truncation=True).input_ids
    assert len({tuple(row) for row in ids}) == len(prompts)


def test_prompt_comes_back_from_its_ids() -> None:
    tokenizer = build_tokenizer()
    ids = tokenizer("a photo of a zwa teat").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["a", "photo", "of", "a", "zwa", "teat"]


def test_any_character_has_a_token_of_its_own() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.unk_token_id not in tokenizer("zitze größe 乳 🐄").input_ids[1:-1]


def test_every_prompt_is_filled_to_the_length_of_the_text_encoder() -> None:
    ids = build_tokenizer()(["a", "a" * 200], padding="max_length", truncation=True).input_ids
    length = build_tiny(BASE, size_pixels=16).text_encoder.config.max_position_embeddings
    assert [len(row) for row in ids] == [length, length]


def test_weights_follow_from_the_seed_alone() -> None:
    built = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        built.append(build_tiny(BASE, size_pixels=16).unet.state_dict())
    assert all(torch.equal(tensor, built[1][name]) for name, tensor in built[0].items())


def test_another_seed_gives_other_weights() -> None:
    first, second = (build_tiny(replace(BASE, seed=seed), size_pixels=16).unet.conv_in.weight for seed in (0, 1))
    assert not torch.equal(first, second)


def test_training_lowers_the_error_of_the_vae() -> None:
    vae = build_tiny(BASE, size_pixels=16).vae
    before = squared_error(IMAGES, reconstruct(vae, IMAGES))
    train_vae(vae, IMAGES, BASE, report=lambda *_: None)
    assert squared_error(IMAGES, reconstruct(vae, IMAGES)) < before


def test_trained_base_reports_both_curves_to_their_last_step() -> None:
    met: list[tuple[int, str]] = []
    pipeline = build_tiny(BASE, size_pixels=16)
    steps = replace(BASE, vae_steps=1, unet_steps=2)
    train_base(pipeline, IMAGES, steps, report=lambda step, values: met.extend((step, name) for name in values))
    assert met == [(1, "vae_squared_error"), (2, "unet_loss")]


def test_error_of_an_image_with_itself_is_0_and_with_its_opposite_4() -> None:
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    assert (squared_error(black, black), squared_error(black, white)) == (0.0, 4.0)


def test_whitening_gives_each_channel_unit_variance_and_reconstructs_the_same() -> None:
    vae = build_tiny(BASE, size_pixels=16).vae
    train_vae(vae, IMAGES, BASE, report=lambda *_: None)
    before = reconstruct(vae, IMAGES)
    whiten_latents(vae, encode_images(vae, IMAGES, flip_horizontal=False))
    latents = encode_images(vae, IMAGES, flip_horizontal=False)
    values = latents.mean.movedim(1, 0).flatten(1)
    variances = values.var(dim=1, correction=0) + latents.std.square().mean(dim=(0, 2, 3))
    assert squared_error(before, reconstruct(vae, IMAGES)) < 1.0e-4
    assert torch.allclose(variances, torch.ones(len(values)), atol=1.0e-3)
    assert torch.allclose(values.mean(dim=1), torch.zeros(len(values)), atol=1.0e-3)
