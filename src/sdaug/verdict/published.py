"""Published results of the study to reproduce (slides "Data augmentation using Stable Diffusion")."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Arm = Literal["original", "augmented"]

# Where the stage `teats` writes the slides' photos; other photos have no place beside the slides' accuracies.
TEATS_DIR = Path("data/teats")

# Size of the slides' test set; every test accuracy there is a whole number of these images.
NUM_TEST = 380

# The images of the slides' validation sets (230 and 393) that were scored: incomplete last batches were dropped.
# The percentages say so: 65.74 is 142 of 216, and 81.77 is 314 of 384.
NUM_VALIDATION: dict[Arm, int] = {"original": 216, "augmented": 384}


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of the slides: accuracies in percent, as printed there."""

    model: str
    title: str
    arm: Arm
    validation_percent: float
    test_percent: float


def _row(model: str, title: str, arm: Arm, validation_percent: float, test_percent: float) -> Published:
    return Published(
        model=model, title=title, arm=arm, validation_percent=validation_percent, test_percent=test_percent
    )


# The slides' model comparison, in their order; the first value is our key of the classifier.
ROWS = (
    _row("resnet50", "ResNet 50", "original", 65.74, 63.42),
    _row("resnet50", "ResNet 50 SD", "augmented", 81.77, 63.42),
    _row("custom", "Custom model", "original", 66.66, 61.05),
    _row("custom", "Custom model SD", "augmented", 83.59, 61.05),
    _row("resnet18", "ResNet 18", "original", 64.35, 61.05),
    _row("resnet18", "ResNet18 SD", "augmented", 82.03, 60.78),
    _row("vit", "VIT SD", "augmented", 71.35, 60.52),
    _row("vgg19", "VGG 19", "original", 49.07, 59.47),
    _row("inception_v3", "Inception", "original", 64.35, 59.47),
    _row("vit", "VIT", "original", 64.35, 59.21),
    _row("inception_v3", "Inception SD", "augmented", 75.26, 48.94),
    _row("vgg19", "VGG 19 SD", "augmented", 70.83, 48.42),
)


def find_published(model: str, dataset: str) -> Published | None:
    """The slides' row for a classifier and data set, or None if they have none."""
    return next((row for row in ROWS if (row.model, row.arm) == (model, dataset)), None)


def shows_slides(params: Mapping[str, Any]) -> bool:
    """Whether a study is of the slides' own photos."""
    return Path((params.get("prepare") or {}).get("raw") or "") == TEATS_DIR
