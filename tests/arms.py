"""Arms of tests: what params.yaml says of all arms, but for mirrored images and what a test changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sdaug.common.sections import read_section
from sdaug.datasets.params import ArmImages
from sdaug.train.params import ArmTraining

PARAMS = Path(__file__).parents[1] / "params.yaml"
PLAIN = replace(read_section(PARAMS, "arm.training", ArmTraining), flip_horizontal=False)
REAL = read_section(PARAMS, "arm.images", ArmImages)


def arm_training(**knobs: Any) -> ArmTraining:
    """Plain training with these changes."""
    return replace(PLAIN, **knobs)


def arm_images(**knobs: Any) -> ArmImages:
    """Real photos with these changes."""
    return replace(REAL, **knobs)
