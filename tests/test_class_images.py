"""Class images: reproducible from the seed and saved without loss; the number of synthetic images per class."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import build_small
from test_sampling import DRAWING

from sdaug.common.sections import read_section
from sdaug.diffusion.sampling import DrawnImage, draw_images
from sdaug.dreambooth import class_images
from sdaug.dreambooth.class_images import draw_class_images, read_class_images, save_class_images
from sdaug.dreambooth.params import ClassImagesParams
from sdaug.synthesize.params import SynthesizeParams

PARAMS = Path(__file__).parents[1] / "params.yaml"
KNOBS = ClassImagesParams(
    prompt="a photo",
    num_images=3,
    drawing=replace(DRAWING, guidance_scale=1.0, sampler="ddim"),
    seed=0,
)


def test_class_images_follow_from_the_seed(tmp_path: Path) -> None:
    first, second = (draw_class_images(build_small(), KNOBS, size_pixels=16) for _ in range(2))
    assert first.shape == (3, 16, 16, 3) and np.array_equal(first, second)
    save_class_images(first, tmp_path)
    assert np.array_equal(read_class_images(tmp_path), first)


def test_other_seed_draws_other_class_images() -> None:
    first, second = (draw_class_images(build_small(), replace(KNOBS, seed=seed), size_pixels=16) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_class_image_with_a_fault_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, first = draw_class_images(build_small(), KNOBS, size_pixels=16), [True]

    def spoil(*args: Any, **options: Any) -> Iterator[DrawnImage]:
        for image in draw_images(*args, **options):
            yield replace(image, is_finite=not first.pop()) if first else image

    monkeypatch.setattr(class_images, "draw_images", spoil)
    found = draw_class_images(build_small(), KNOBS, size_pixels=16)
    assert np.array_equal(found[1:], wanted[1:]) and not np.array_equal(found[0], wanted[0])


def test_a_base_that_cannot_draw_is_told_of() -> None:
    pipeline = build_small()
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"3 of 3 images had a fault 10 times in a row \(30 not_finite\).*fp32"):
        draw_class_images(pipeline, KNOBS, size_pixels=16)


def test_missing_class_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no images; run `dvc repro class_images`"):
        read_class_images(tmp_path)


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 40),
        ({"multiple_of_missing": 0.5}, 20),
        ({"num_images": 7}, 7),
        ({"min_images": 50}, 50),
        ({"min_images": 30}, 40),
    ],
    ids=str,
)
def test_number_of_synthetic_images(change: dict[str, float], count: int) -> None:
    params = read_section(PARAMS, "synthesize", SynthesizeParams)
    assert replace(params, **change).count(40) == count
