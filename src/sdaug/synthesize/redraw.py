"""Drawing a synthetic image again from its row of the manifest."""

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.sampling import cast_weights, draw_pixels


def redraw(pipeline: StableDiffusionPipeline, image: SyntheticImage) -> NDArray[np.uint8]:
    """The `(H, W, 3)` pixels of an image, drawn in a batch of the size that it was drawn in."""
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
