"""Drawing images from a pipeline: an image is a function of the weights, the prompts, its seed and the settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray

from sdaug.device import torch_stream
from sdaug.diffusion.denoising import encode_prompts
from sdaug.diffusion.sampler_names import SamplerName
from sdaug.progress import progress

SAMPLERS = {
    "dpm_solver": DPMSolverMultistepScheduler,  # DPM-Solver++ 2M, arXiv 2211.01095
    "unipc": UniPCMultistepScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "pndm": PNDMScheduler,
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What is drawn and how: all that an image depends on beside the weights and its seed."""

    prompt: str
    negative_prompt: str
    guidance_scale: float
    inference_steps: int
    sampler: SamplerName
    height: int
    width: int
    batch_size: int


def draw_images(
    pipeline: StableDiffusionPipeline, drawing: Drawing, seeds: Sequence[int], *, title: str
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Each seed with its `(H, W, 3)` image, in order; every batch has the same size, the last one is filled up."""
    own_scheduler = pipeline.scheduler
    sampler = SAMPLERS[drawing.sampler].from_config(own_scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    prompt, negative = encode_prompts(pipeline, [drawing.prompt, drawing.negative_prompt])
    starts = range(0, len(seeds), drawing.batch_size)
    for start in progress(starts, title=title, total=len(starts), unit="image", unit_scale=drawing.batch_size):
        wanted = seeds[start : start + drawing.batch_size]
        filled = [*wanted, *[wanted[-1]] * (drawing.batch_size - len(wanted))]
        # The pipeline's own scheduler is the noise schedule of training, and is what is saved.
        pipeline.scheduler = sampler
        try:
            images = _draw_batch(pipeline, drawing, filled, prompt, negative)
        finally:
            pipeline.scheduler = own_scheduler
        yield from zip(wanted, images, strict=False)


def draw_previews(
    pipeline: StableDiffusionPipeline, prompt: str, num_images: int, *, size_pixels: int
) -> list[NDArray[np.uint8]]:
    """A few images to look at: the same seeds each time, so that two previews show what changed between them."""
    drawing = Drawing(
        prompt=prompt,
        negative_prompt="",
        guidance_scale=1.0,
        inference_steps=20,
        sampler="dpm_solver",
        height=size_pixels,
        width=size_pixels,
        batch_size=num_images,
    )
    return [pixels for _, pixels in draw_images(pipeline, drawing, range(num_images), title="previews")]


@torch.no_grad()
def _draw_batch(
    pipeline: StableDiffusionPipeline,
    drawing: Drawing,
    seeds: Sequence[int],
    prompt: torch.Tensor,
    negative: torch.Tensor,
) -> NDArray[np.uint8]:
    result = pipeline(
        prompt_embeds=prompt.expand(len(seeds), -1, -1),
        negative_prompt_embeds=negative.expand(len(seeds), -1, -1),
        generator=[torch_stream(seed) for seed in seeds],
        guidance_scale=drawing.guidance_scale,
        num_inference_steps=drawing.inference_steps,
        height=drawing.height,
        width=drawing.width,
        output_type="np",
    )
    return np.asarray((np.asarray(result.images) * 255).round().astype(np.uint8))
