"""Regenerating a synthetic image from its manifest row."""

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.sampling import cast_weights, draw_pixels


def redraw(pipeline: StableDiffusionPipeline, image: SyntheticImage) -> NDArray[np.uint8]:
    """The pixels `(H, W, 3)` of an image, sampled with its original settings, batch size included."""
    cast_weights(pipeline, image.drawing.precision)
    (pixels,) = draw_pixels(
        pipeline,
        image.prompt,
        image.drawing,
        [image.seed],
        height=image.height,
        width=image.width,
        title=image.id,
    )
    return np.asarray(pixels)
