"""DreamBooth: bind a rare token to one class's photos, while images of the base keep the rest from drifting.

Ruiz et al., arXiv 2208.12242, eq. 2. Latents and prompts are encoded once and drawn from at each step.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from sdaug.device import check_finite, torch_stream
from sdaug.diffusion.denoising import Latents, denoising_loss, encode_prompts
from sdaug.diffusion.dreambooth_params import ConceptParams, DreamBoothParams
from sdaug.diffusion.pretraining import encode_images, to_pixels
from sdaug.diffusion.sampler_names import SamplerName
from sdaug.diffusion.sampling import Drawing, draw_images
from sdaug.progress import progress
from sdaug.seeding import derive_seed

REPORT_STEPS = 10
WARMUP_STEPS = 10
CLASS_SAMPLER: SamplerName = "dpm_solver"
CLASS_BATCH_SIZE = 16

Report = Callable[[int, Mapping[str, float]], None]


def draw_class_images(
    pipeline: StableDiffusionPipeline, params: DreamBoothParams, *, size_pixels: int
) -> NDArray[np.uint8]:
    """`(N, H, W, 3)` images that the base draws for the class prompt; every concept meets the same ones."""
    drawing = Drawing(
        prompt=params.class_prompt,
        negative_prompt="",
        guidance_scale=params.class_guidance_scale,
        inference_steps=params.class_inference_steps,
        sampler=CLASS_SAMPLER,
        height=size_pixels,
        width=size_pixels,
        batch_size=CLASS_BATCH_SIZE,
    )
    seeds = [derive_seed(params.seed, "class image", index) for index in range(params.num_class_images)]
    return np.stack([pixels for _, pixels in draw_images(pipeline, drawing, seeds, title="class images")])


def train_dreambooth(
    pipeline: StableDiffusionPipeline,
    instance_images: NDArray[np.uint8],
    class_images: NDArray[np.uint8],
    *,
    params: DreamBoothParams,
    concept: ConceptParams,
    report: Report,
) -> None:
    """Fine-tune the UNet in place on `(N, H, W, 3)` photos of one class, with prior preservation."""
    unet, scheduler = pipeline.unet, pipeline.scheduler
    stream = torch_stream(derive_seed(params.seed, concept.instance_prompt))
    instances = _encode(pipeline, instance_images, params)
    priors = _encode(pipeline, class_images, params)
    prompts = torch.cat(
        [
            prompt.expand(params.batch_size, -1, -1)
            for prompt in encode_prompts(pipeline, [concept.instance_prompt, params.class_prompt])
        ]
    )
    unet.train().requires_grad_(True).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=params.learning_rate, fused=True)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS))
    for step in progress(range(1, params.training_steps + 1), title="DreamBooth", total=params.training_steps):
        latents = torch.cat([_draw(instances, params, stream), _draw(priors, params, stream)])
        losses = denoising_loss(unet, scheduler, latents, prompts, stream)
        instance_loss, prior_loss = (half.mean() for half in losses.split(params.batch_size))
        loss = instance_loss + params.prior_loss_weight * prior_loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), params.max_grad_norm)
        optimizer.step()
        warmup.step()
        if step % REPORT_STEPS == 0 or step == params.training_steps:
            check_finite(loss, where=f"dreambooth: step {step}")
            report(step, {"instance_loss": float(instance_loss.detach()), "prior_loss": float(prior_loss.detach())})
    unet.eval()


def _encode(pipeline: StableDiffusionPipeline, images: NDArray[np.uint8], params: DreamBoothParams) -> Latents:
    latents = encode_images(pipeline.vae, to_pixels(images), flip_horizontal=params.flip_horizontal)
    return latents.scaled(pipeline.vae.config.scaling_factor)


def _draw(latents: Latents, params: DreamBoothParams, stream: torch.Generator) -> torch.Tensor:
    return latents.draw(torch.randint(len(latents), (params.batch_size,), generator=stream), stream)
