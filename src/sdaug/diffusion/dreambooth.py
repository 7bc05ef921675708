"""DreamBooth: bind a rare token to one class's photos, while images of the base keep the rest from drifting.

Ruiz et al., arXiv 2208.12242, eq. 2. Each image's posterior is encoded once and drawn from at each step; prompts are
encoded once as well, unless the text encoder learns. The weights that learn are float32 whatever the precision.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch import nn

from sdaug.device import torch_stream
from sdaug.diffusion.adapters import adapt
from sdaug.diffusion.denoising import Latents, denoising_loss, encode_prompts
from sdaug.diffusion.dreambooth_params import ConceptParams, DreamBoothParams
from sdaug.diffusion.flat import FlatWeights
from sdaug.diffusion.pretraining import encode_images, to_pixels
from sdaug.precision import autocast, resolve_precision
from sdaug.progress import progress
from sdaug.seeding import derive_seed
from sdaug.watch import Watch

REPORT_STEPS = 10
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}  # diffusers' names

Report = Callable[[int, Mapping[str, float]], None]
Preview = Callable[[int], None]


@dataclass(frozen=True)
class Half:
    """One half of the objective: the images of one prompt, and what their loss weighs."""

    name: str
    latents: Latents
    prompt: str
    weight: float


def train_dreambooth(
    pipeline: StableDiffusionPipeline,
    instance_images: NDArray[np.uint8],
    class_images: NDArray[np.uint8] | None,
    *,
    params: DreamBoothParams,
    concept: ConceptParams,
    class_prompt: str,
    report: Report,
    preview: Preview | None = None,
) -> None:
    """Fine-tune in place on `(N, H, W, 3)` photos of one class; `class_images` are for prior preservation.

    `report` gets each half's mean loss, `preview` the step each time that images are due.

    Raises:
        ValueError: a loss is not finite, with the step at which it was so first.
    """
    halves = [Half("instance", encode_set(pipeline, instance_images, params), concept.instance_prompt, 1.0)]
    if class_images is not None:
        halves.append(Half("prior", encode_set(pipeline, class_images, params), class_prompt, params.prior_loss_weight))
    device = pipeline.device
    dtype = resolve_precision(params.precision, device)
    weights = adapt(pipeline, params, dtype, seed=derive_seed(params.seed, "adapter"))
    flat = FlatWeights(weights) if device.type == "cpu" else None
    weights = [flat.tensor] if flat else weights
    optimizer = build_optimizer(weights, params)
    schedule = get_scheduler(
        SCHEDULES[params.schedule],
        optimizer,
        num_warmup_steps=params.warmup_steps,
        num_training_steps=params.training_steps,
    )
    average = build_average(weights, params)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    stream = torch_stream(derive_seed(params.seed, concept.instance_prompt))
    prompts = Prompts(pipeline, halves, params, dtype)
    watch = Watch([f"{half.name}_loss" for half in halves], device)
    _set_training(pipeline, params, is_on=True)
    for step in progress(range(1, params.training_steps + 1), title="DreamBooth", total=params.training_steps):
        for _ in range(params.gradient_accumulation_steps):
            losses = half_losses(pipeline, halves, prompts(), params, stream, dtype)
            loss = torch.stack([half.weight * value for half, value in zip(halves, losses, strict=True)]).sum()
            scaler.scale(loss / params.gradient_accumulation_steps).backward()
            watch.add(step, losses)
        if flat:
            flat.gather_gradients()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(weights, params.max_grad_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        schedule.step()
        if average:
            average.step(weights)
        if step % REPORT_STEPS == 0 or step == params.training_steps:
            report(step, watch.means(where="dreambooth", way_out="lower dreambooth.learning_rate"))
        is_due = params.preview_steps and step % params.preview_steps == 0 and step < params.training_steps
        if preview and is_due:
            with _ready_to_draw(pipeline, params, weights, average):
                preview(step)
    if average:
        average.copy_to(weights)
    _set_training(pipeline, params, is_on=False)


def encode_set(pipeline: StableDiffusionPipeline, images: NDArray[np.uint8], params: DreamBoothParams) -> Latents:
    """The scaled posteriors of `(N, H, W, 3)` images, and of their mirror images if asked."""
    latents = encode_images(pipeline.vae, to_pixels(images), flip_horizontal=params.flip_horizontal)
    return latents.scaled(pipeline.vae.config.scaling_factor)


def half_losses(
    pipeline: StableDiffusionPipeline,
    halves: Sequence[Half],
    prompts: torch.Tensor,
    params: DreamBoothParams,
    stream: torch.Generator,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, ...]:
    """The mean loss of each half, from one pass over the images of all; `prompts` is `(halves, T, D)`."""
    size = params.batch_size
    latents = torch.cat(
        [half.latents.draw(torch.randint(len(half.latents), (size,), generator=stream), stream) for half in halves]
    )
    with autocast(latents.device, dtype):  # a pipeline looks for its device in all of its parts
        losses = denoising_loss(
            pipeline.unet,
            pipeline.scheduler,
            latents,
            prompts,
            stream,
            min_snr_gamma=params.min_snr_gamma,
            noise_offset=params.noise_offset,
        )
    return tuple(losses.view(len(halves), size).mean(dim=1))


class Prompts:
    """The embeddings `(halves, T, D)`: made once, or anew at each step where the text encoder learns."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, halves: Sequence[Half], params: DreamBoothParams, dtype: torch.dtype
    ) -> None:
        texts = [half.prompt for half in halves]
        self._pipeline, self._dtype = pipeline, dtype
        self._fixed = None if params.train_text_encoder else torch.cat(encode_prompts(pipeline, texts))
        length = pipeline.tokenizer.model_max_length
        tokens = pipeline.tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(pipeline.device)
        has_mask = getattr(pipeline.text_encoder.config, "use_attention_mask", False)
        self._tokens = {"input_ids": tokens.input_ids} | ({"attention_mask": tokens.attention_mask} if has_mask else {})

    def __call__(self) -> torch.Tensor:
        if self._fixed is not None:
            return self._fixed
        with autocast(self._pipeline.device, self._dtype):
            embeddings: torch.Tensor = self._pipeline.text_encoder(**self._tokens)[0]
        return embeddings


def build_optimizer(weights: Sequence[nn.Parameter], params: DreamBoothParams) -> torch.optim.Optimizer:
    """AdamW, fused, or with its moments in 8 bits where bitsandbytes is installed."""
    if params.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(weights, lr=params.learning_rate, weight_decay=params.weight_decay)
    return optimizer


def build_average(weights: Sequence[nn.Parameter], params: DreamBoothParams) -> EMAModel | None:
    """The moving average of the weights that is kept, if any is."""
    if params.ema_decay is None:
        return None
    return EMAModel(weights, decay=params.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)


def _set_training(pipeline: StableDiffusionPipeline, params: DreamBoothParams, *, is_on: bool) -> None:
    pipeline.unet.train(is_on)
    pipeline.text_encoder.train(is_on and params.train_text_encoder)


@contextmanager
def _ready_to_draw(
    pipeline: StableDiffusionPipeline,
    params: DreamBoothParams,
    weights: Sequence[nn.Parameter],
    average: EMAModel | None,
) -> Iterator[None]:
    """Show what would be kept now, then go on training with the weights as they were."""
    if average:
        average.store(weights)
        average.copy_to(weights)
    _set_training(pipeline, params, is_on=False)
    try:
        yield
    finally:
        _set_training(pipeline, params, is_on=True)
        if average:
            average.restore(weights)
