"""Encoding and decoding in batches: the results of all images at once, without the memory for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from peaks import largest_float, numpy_peak_bytes
from small import build_small

from sdaug.classify.inference import as_pixels
from sdaug.common.images import read_pngs, save_png
from sdaug.diffusion.latents import encode_images, reconstruct, to_pixels, vae_batch_size

MANY = np.random.default_rng(0).integers(0, 256, (600, 16, 16, 3), dtype=np.uint8)
FEW = MANY[:21]  # no multiple of a batch: one batch has photos and mirror images


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return build_small().vae


@pytest.mark.parametrize("flip_horizontal", [False, True])
def test_posteriors_are_those_of_all_images_in_one_array(vae: AutoencoderKL, flip_horizontal: bool) -> None:
    pixels = to_pixels(FEW)
    pixels = torch.cat([pixels, pixels.flip(-1)]) if flip_horizontal else pixels
    with torch.no_grad():
        wanted = [vae.encode(part).latent_dist for part in pixels.split(vae_batch_size(16, 16))]
    found = encode_images(vae, FEW, flip_horizontal=flip_horizontal)
    assert torch.equal(found.mean, torch.cat([part.mean for part in wanted]))
    assert torch.equal(found.std, torch.cat([part.std for part in wanted]))


def test_reconstructions_are_those_of_all_images_in_one_array(vae: AutoencoderKL) -> None:
    with torch.no_grad():
        parts = [vae.decode(vae.encode(part).latent_dist.mean).sample for part in to_pixels(FEW).split(16)]
    wanted = torch.cat(parts).add(1.0).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(reconstruct(vae, FEW), wanted)


Work = Callable[[AutoencoderKL, NDArray[np.uint8]], object]
CALLS: dict[str, Work] = {
    "encoding": lambda vae, images: encode_images(vae, images, flip_horizontal=False),
    "encoding both ways": lambda vae, images: encode_images(vae, images, flip_horizontal=True),
    "reconstruction": reconstruct,
    "images of a classifier on a GPU": lambda _, images: as_pixels(images, torch.device("cpu")),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_tensor_holds_the_whole_set_as_floats(name: str) -> None:
    vae = build_small().vae
    assert largest_float(lambda: CALLS[name](vae, MANY)) < MANY.size


def test_encoding_both_ways_makes_no_copy_of_the_set() -> None:
    vae = build_small().vae
    assert numpy_peak_bytes(lambda: CALLS["encoding both ways"](vae, MANY)) < MANY.nbytes / 2


def test_the_whole_set_as_floats_would_be_seen() -> None:
    assert largest_float(lambda: to_pixels(MANY)) == MANY.size


def test_photos_are_read_into_one_array(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(MANY))]
    for path, pixels in zip(paths, MANY, strict=True):
        save_png(path, pixels)
    assert np.array_equal(read_pngs(paths), MANY)
    assert numpy_peak_bytes(lambda: read_pngs(paths)) < 1.5 * MANY.nbytes


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", MANY[0])
    save_png(tmp_path / "b.png", MANY[0, :8])
    with pytest.raises(ValueError, match=r"b\.png: 16x8 pixels, but .*a\.png has 16x16; all must have one size"):
        read_pngs([tmp_path / "a.png", tmp_path / "b.png"])
