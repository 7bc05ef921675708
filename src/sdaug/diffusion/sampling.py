"""Sampling images from a pipeline: each image depends only on the weights, the prompts, its seed and the settings.

The loop is that of the pipeline's own `__call__`, with prompts encoded once, a constant batch size and weights
in channels-last layout. On a CPU, small batches are sampled in parallel, one per worker thread.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sdaug.common.device import to_device, to_host, torch_stream
from sdaug.common.params import Drawing, PrecisionName
from sdaug.common.precision import autocast, resolve_precision
from sdaug.common.progress import progress
from sdaug.diffusion.conditioning import Conditioning, concatenate, encode_prompts, predict
from sdaug.diffusion.latents import to_pixels, vae_batch_size
from sdaug.diffusion.schedules import build_sampler
from sdaug.diffusion.versions import Pipeline, vae_dtype

SMALL_BATCH_PIXELS = 2**18  # 16 images of 128 x 128; larger batches run one at a time on all cores

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Start:
    """Photos `(N, H, W, 3)` to start from, one per image, and the fraction of sampling steps that are made."""

    photos: NDArray[np.uint8]
    strength: float

    def part(self, first: int, size: int) -> "Start":
        """The photos of one batch; the last one is repeated to fill it."""
        photos = self.photos[first : first + size]
        padding = np.repeat(photos[-1:], size - len(photos), axis=0)
        return Start(photos=np.concatenate([photos, padding]), strength=self.strength)


@dataclass(frozen=True)
class DrawnImage:
    """A sampled image `(H, W, 3)`; `is_finite` is False if any decoded value was NaN or infinite."""

    seed: int
    pixels: NDArray[np.uint8]
    is_finite: bool


def draw_images(
    pipeline: Pipeline,
    prompt: str,
    drawing: Drawing,
    seeds: Sequence[int],
    *,
    height: int,
    width: int,
    title: str,
    start: Start | None = None,
) -> Iterator[DrawnImage]:
    """One image per seed, in order; the last batch is padded, so that all batches have the same size."""
    prompts = guided_prompts(pipeline, prompt, drawing, height=height, width=width)
    for part in (pipeline.unet, pipeline.vae):
        part.to(memory_format=torch.channels_last)

    def draw(first: int) -> Callable[[], list[DrawnImage]]:
        # Fill up the last batch: rounding depends on the batch size (docs/generators.md).
        wanted = seeds[first : first + drawing.batch_size]
        filled = [*wanted, *[wanted[-1]] * (drawing.batch_size - len(wanted))]
        begin = start.part(first, drawing.batch_size) if start else None
        latents = draw_latents(pipeline, drawing, prompts, filled, height=height, width=width, start=begin)
        images = decode_latents(pipeline, latents, drawing)
        # Tested before clamping, which would hide infinities.
        is_finite = to_host(images.isfinite().flatten(1).all(dim=1))
        pixels = to_host((images.clamp(0, 1).nan_to_num() * 255).round().to(torch.uint8))
        return lambda: [DrawnImage(*one) for one in zip(wanted, pixels(), is_finite().tolist(), strict=False)]

    starts = range(0, len(seeds), drawing.batch_size)
    # Batches of 16, two at a time with one thread each: 30.0 images a second, not 17.7 (benchmarks/synthesize.py).
    is_small = drawing.batch_size * height * width <= SMALL_BATCH_PIXELS
    drawn = map_on_cores(draw, starts) if is_small and pipeline.device.type == "cpu" else one_ahead(draw, starts)
    for fetch in progress(drawn, title=title, total=len(starts), unit="image", unit_scale=drawing.batch_size):
        yield from fetch()


def one_ahead(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results of `work`, in order, one item ahead, so that a GPU is busy while the caller uses a result."""
    results = deque[Result]()
    for item in items:
        results.append(work(item))
        if len(results) > 1:
            yield results.popleft()
    yield from results


def map_on_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results of `work`, in order; items run in parallel and divide torch's threads among them."""
    num_threads = torch.get_num_threads()
    num_workers = max(1, min(num_threads, len(items)))
    # Within one batch, synchronising threads in many short operations costs half the gain of a second core.
    with ThreadPoolExecutor(num_workers, "draw", torch.set_num_threads, (num_threads // num_workers,)) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            torch.set_num_threads(num_threads)  # part of this setting is shared by all Python threads


def draw_pixels(
    pipeline: Pipeline,
    prompt: str,
    drawing: Drawing,
    seeds: Sequence[int],
    *,
    height: int,
    width: int,
    title: str,
    start: Start | None = None,
) -> NDArray[np.uint8]:
    """One image per seed, `(N, H, W, 3)`.

    Raises:
        ValueError: values of an image are not finite.
    """
    pixels = np.empty((len(seeds), height, width, 3), np.uint8)
    images = draw_images(pipeline, prompt, drawing, seeds, height=height, width=width, title=title, start=start)
    for index, image in enumerate(images):
        if not image.is_finite:
            rule = f"values that are not finite, drawn with precision {drawing.precision}"
            raise ValueError(
                f"{title}: image {index + 1} of {len(seeds)} (seed {image.seed}): {rule}; use precision fp32"
            )
        pixels[index] = image.pixels
    return pixels


def guided_prompts(pipeline: Pipeline, prompt: str, drawing: Drawing, *, height: int, width: int) -> Conditioning:
    """The prompt, or two with the negative one first if guidance is used, for images of one size in pixels."""
    wanted = [drawing.negative_prompt, prompt] if drawing.guidance_scale > 1 else [prompt]
    return concatenate(encode_prompts(pipeline, wanted, height=height, width=width))


def draw_latents(
    pipeline: Pipeline,
    drawing: Drawing,
    prompts: Conditioning,
    seeds: Sequence[int],
    *,
    height: int,
    width: int,
    start: Start | None = None,
) -> torch.Tensor:
    """Latents `(B, C, h, w)`, one per seed; each starts from its own noise and is independent of its batch.

    With `start`, noise is added to a photo's latents, and only the last steps are made (SDEdit, arXiv 2108.01073).
    """
    unet, device = pipeline.unet, pipeline.device
    sampler = build_sampler(pipeline, drawing.sampler)
    sampler.set_timesteps(drawing.inference_steps)  # on the CPU, to avoid a GPU synchronisation or copy at each step
    timesteps = sampler.timesteps
    factor = pipeline.vae_scale_factor
    shape = (unet.config.in_channels, height // factor, width // factor)
    # Noise: one generator per seed, so that an image does not depend on its batch.
    noise = torch.stack([torch.randn(shape, generator=torch_stream(seed)) for seed in seeds])
    latents: torch.Tensor = noise.to(device, memory_format=torch.channels_last) * sampler.init_noise_sigma
    if start:
        # As in diffusers' image-to-image pipeline.
        begin = len(timesteps) - min(len(timesteps), int(len(timesteps) * start.strength))
        timesteps = timesteps[begin:]
        if hasattr(sampler, "set_begin_index"):  # DDIM keeps no count of its steps
            sampler.set_begin_index(begin)
        latents = sampler.add_noise(encode_start(pipeline, start, drawing), noise.to(device), timesteps[:1])
    times = to_device(timesteps, device)
    num_prompts = len(prompts)
    prompts = prompts.to(unet.dtype)
    with torch.inference_mode(), _products(unet, resolve_precision(drawing.precision, device), device):
        for timestep, time in zip(timesteps, times, strict=True):
            noisy = sampler.scale_model_input(latents.repeat(num_prompts, 1, 1, 1), timestep)
            noisy = noisy.to(unet.dtype, memory_format=torch.channels_last)
            predicted = predict(unet, noisy, time, prompts).float()
            if num_prompts == 2:
                # Classifier-free guidance (Ho and Salimans, arXiv 2207.12598).
                without, with_prompt = predicted.chunk(2)
                predicted = without + drawing.guidance_scale * (with_prompt - without)
            latents = sampler.step(predicted, timestep, latents, return_dict=False)[0]
    return latents


def encode_start(pipeline: Pipeline, start: Start, drawing: Drawing) -> torch.Tensor:
    """The scaled latents `(B, C, h, w)` of the photos to start from: the means of their posteriors."""
    vae = pipeline.vae
    size = vae_batch_size(*start.photos.shape[1:3])
    with torch.inference_mode(), _vae_products(pipeline, drawing):
        batches = to_pixels(start.photos).to(pipeline.device, vae.dtype).split(size)
        means = torch.cat([vae.encode(part).latent_dist.mean for part in batches])
    scaled: torch.Tensor = means.float() * vae.config.scaling_factor
    return scaled.to(memory_format=torch.channels_last)


def decode_latents(pipeline: Pipeline, latents: torch.Tensor, drawing: Drawing) -> torch.Tensor:
    """Images `(B, H, W, 3)` decoded from latents, nominally in [0, 1] but not yet clipped."""
    vae, factor = pipeline.vae, pipeline.vae_scale_factor
    size = vae_batch_size(latents.shape[-2] * factor, latents.shape[-1] * factor)
    with torch.inference_mode(), _vae_products(pipeline, drawing):
        batches = (latents / vae.config.scaling_factor).to(vae.dtype).split(size)
        decoded = torch.cat([vae.decode(part, return_dict=False)[0] for part in batches])
        return (decoded.float() / 2 + 0.5).permute(0, 2, 3, 1)


def _vae_products(pipeline: Pipeline, drawing: Drawing) -> torch.autocast:
    """Autocast of the VAE, whose precision may differ from that of sampling."""
    device = pipeline.device
    return _products(pipeline.vae, vae_dtype(pipeline, resolve_precision(drawing.precision, device)), device)


def _products(part: nn.Module, dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Autocast to a dtype; disabled if the weights already have it."""
    return autocast(device, torch.float32 if part.dtype == dtype else dtype)


def cast_weights(pipeline: Pipeline, precision: PrecisionName) -> None:
    """Cast the weights to the sampling precision in place, once instead of at each step."""
    dtype = resolve_precision(precision, pipeline.device)
    for part, wanted in ((pipeline.unet, dtype), (pipeline.vae, vae_dtype(pipeline, dtype))):
        if part.dtype != wanted:
            part.to(wanted)


def draw_previews(
    pipeline: Pipeline, prompt: str, num_images: int, *, size_pixels: int, guidance_scale: float = 1.0
) -> list[NDArray[np.uint8]]:
    """A few preview images `(H, W, 3)`, always from the same seeds, so that previews can be compared over training.

    Values that are not finite become black: a preview shows what training has done, and does not stop it.
    """
    drawing = Drawing(
        negative_prompt="",
        guidance_scale=guidance_scale,
        inference_steps=20,
        sampler="dpm_solver",
        batch_size=num_images,
        precision="auto",
    )
    seeds = range(num_images)
    drawn = draw_images(pipeline, prompt, drawing, seeds, height=size_pixels, width=size_pixels, title="previews")
    return [image.pixels for image in drawn]
