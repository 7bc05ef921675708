"""The small classifier that measures images and photos: quick to train, however few and small they are."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sdaug.classify.params import CUSTOM
from sdaug.train.params import ArmTraining, Recipe, TrainParams

RECIPE = Recipe(
    architecture=CUSTOM,
    options={},
    pretrained=False,
    revision=None,
    freeze_backbone=False,
    dropout=0.0,
    drop_path=0.0,
    image_size=64,
    method="plain",
    optimizer="adam",
    learning_rate=2.0e-3,  # as for the custom network in the default study
    layer_decay=1.0,
    momentum=0.0,
    weight_decay=1.0e-4,
    schedule="cosine",
    warmup_steps=0,
    batch_size=16,
    epochs=10,
    steps=None,
)
TRAINING = TrainParams(
    selection="loss",
    early_stopping_epochs=None,
    ema_decay=None,
    max_grad_norm=None,
    precision="fp32",
    num_threads=1,  # not read by `train_classifier`
    compile=False,
)
ARM = ArmTraining(
    loss="cross_entropy",
    focal_gamma=2.0,
    label_smoothing=0.0,
    class_weights="none",
    effective_number_beta=0.999,
    sampler="plain",
    flip_horizontal=True,
    flip_vertical=False,
    rotation_degrees=0.0,
    crop_scale=1.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    randaugment_ops=0,
    randaugment_magnitude=9,
    mixup_alpha=0.0,
    cutmix_alpha=0.0,
    feature_oversampling=False,
    synthetic_weight=1.0,
    synthetic_share=None,
    pretrain_steps=0,
    soften=0.0,
)


def fitted_recipe(images: NDArray[np.uint8]) -> Recipe:
    """The recipe with batch and image size reduced to fit images `(N, H, W, 3)`."""
    # Training refuses a batch larger than the data set.
    return replace(
        RECIPE, batch_size=min(RECIPE.batch_size, len(images)), image_size=min(RECIPE.image_size, images.shape[1])
    )
