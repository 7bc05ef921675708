"""A base whose scheduler declares the wrong kind of prediction is warned of; the shipped one is not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.base.prediction import prediction_warning
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.sampling import draw_previews

SMALL = Path(__file__).parents[1] / "pretrained" / "small"


@pytest.fixture(scope="module")
def base() -> StableDiffusionPipeline:
    return load_pipeline(SMALL, torch.device("cpu"))


@pytest.fixture(scope="module")
def photos(base: StableDiffusionPipeline) -> NDArray[np.uint8]:
    """Two images of the kind that it has learned."""
    return np.stack(draw_previews(base, "a photo of a teat end", 2, size_pixels=64))


def test_kind_of_the_shipped_base_is_believed(base: StableDiffusionPipeline, photos: NDArray[np.uint8]) -> None:
    assert prediction_warning(base, photos, "a photo of a teat end") is None


def test_wrong_kind_is_warned_of(base: StableDiffusionPipeline, photos: NDArray[np.uint8]) -> None:
    right = base.scheduler.config.prediction_type
    wrong = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[right]
    plain = StableDiffusionPipeline(**base.components, requires_safety_checker=False)
    plain.scheduler = type(base.scheduler).from_config(base.scheduler.config, prediction_type=wrong)
    warning = prediction_warning(plain, photos, "a photo of a teat end")
    assert warning is not None and f"declares {wrong}" in warning and f"as {right}" in warning
