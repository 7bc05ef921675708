"""Drawing synthetic images again from their manifest rows: with their own generator, or with the base to compare."""

from collections.abc import Sequence

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.sampling import cast_weights, draw_pixels


def redraw(pipeline: StableDiffusionPipeline, images: Sequence[SyntheticImage], *, title: str) -> NDArray[np.uint8]:
    """The pixels `(N, H, W, 3)` of images that share all but their seed, sampled with their settings and batch size."""
    first = images[0]
    cast_weights(pipeline, first.drawing.precision)
    return draw_pixels(
        pipeline,
        first.prompt,
        first.drawing,
        [image.seed for image in images],
        height=first.height,
        width=first.width,
        title=title,
    )
