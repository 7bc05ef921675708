"""Sanity check: each classifier of the default study, with its recipe, learns to tell smooth from rough teat ends.

The large models are slow: `pytest -m slow tests/test_easy_phantom.py`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from arms import arm_training
from numpy.typing import NDArray

from sdaug.common.sections import read_section
from sdaug.phantom.params import PhantomParams
from sdaug.phantom.photo import draw_photo
from sdaug.phantom.udders import plan_teats
from sdaug.train.examples import photos_alone
from sdaug.train.params import TrainParams, read_recipe
from sdaug.train.training import train_classifier

PARAMS = Path(__file__).parents[1] / "params.yaml"
CLASSES = ["score_1", "score_4"]
LARGE = ("resnet18", "resnet50", "vgg19", "inception_v3", "vit")
NUM_TRAIN, NUM_HELD_OUT = 150, 60  # per class

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture(scope="module")
def photos() -> dict[str, Part]:
    """Photos of the two most different scores, without blur, sensor noise or label noise."""
    given = read_section(PARAMS, "phantom", PhantomParams)
    phantom = replace(
        given,
        train_counts={label: NUM_TRAIN if label in CLASSES else 1 for label in given.train_counts},
        test_counts={label: NUM_HELD_OUT if label in CLASSES else 1 for label in given.test_counts},
        blur_pixels=0.0,
        noise=0.0,
        label_noise_fraction=0.0,
    )
    teats = [teat for teat in plan_teats(phantom) if teat.label in CLASSES]
    parts = {}
    for split in ("train", "test"):
        members = [teat for teat in teats if teat.split == split]
        images = np.stack([draw_photo(teat, phantom) for teat in members])
        parts[split] = images, np.array([CLASSES.index(teat.label) for teat in members])
    return parts


@pytest.mark.parametrize(
    "model",
    ["custom", *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)],
)
def test_classifier_learns(photos: dict[str, Part], model: str) -> None:
    shared = read_section(PARAMS, "train", TrainParams)
    trained = train_classifier(
        photos_alone(*photos["train"]),
        photos["test"],
        CLASSES,
        recipe=read_recipe(PARAMS, model, "original"),
        arm=arm_training(flip_horizontal=True),
        shared=shared,
        seed=0,
        device=torch.device("cpu"),
    )
    assert trained.best["accuracy"] > 0.95
