"""DreamBooth: binding a rare token to one class, with prior preservation (Ruiz et al., arXiv 2208.12242, eq. 2).

Images are encoded once and their posteriors sampled at each step; prompts are encoded once too, unless text
encoders are trained. Trainable weights are float32 at any precision.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from diffusers.optimization import get_scheduler
from numpy.typing import NDArray
from torch import nn

from sdaug.common.checkpoint import Checkpoint, Progress, State
from sdaug.common.cpu_speed import flatten
from sdaug.common.device import announce, torch_stream
from sdaug.common.loss_monitor import LossMonitor
from sdaug.common.params import ConceptParams
from sdaug.common.precision import name_precision, resolve_precision
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.diffusion.schedules import noise_schedule
from sdaug.diffusion.versions import Pipeline, networks, text_encoders
from sdaug.diffusion.weight_training import moving_average
from sdaug.dreambooth.adapters import adapt
from sdaug.dreambooth.objective import Half, Prompts, encode_set, half_losses
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.dreambooth.validation import BestStep, Validation, prepare_validation

REPORT_STEPS = 10  # reading the losses makes the host wait for a GPU
SPARE = torch.device("cpu")  # where parts wait that no step needs
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}  # diffusers' names

Report = Callable[[int, Mapping[str, float]], None]
Preview = Callable[[int], None]


def train_dreambooth(
    pipeline: Pipeline,
    instance_images: NDArray[np.uint8],
    class_images: NDArray[np.uint8] | None,
    *,
    params: DreamBoothParams,
    concept: ConceptParams,
    class_prompt: str,
    seed: int,
    report: Report,
    validation_images: NDArray[np.uint8] | None = None,
    preview: Preview | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, float]]:
    """Fine-tune in place on photos `(N, H, W, 3)` of one class; `class_images` are for prior preservation.

    `seed` is that of the draw; with `validation_loss_steps`, `validation_images` are photos of the class that it does
    not learn from. Returns the mean loss of each term by step, with the validation loss, and `report` receives each of
    these rows, also those from before a checkpoint; `preview` is called with the step every `preview_steps`.

    Raises:
        ValueError: a loss is not finite; the message names the first such step.
    """
    # Setup: the VAE encodes each image once.
    halves = [Half("instance", encode_set(pipeline, instance_images, params), concept.instance_prompt, 1.0)]
    if class_images is not None:
        halves.append(Half("prior", encode_set(pipeline, class_images, params), class_prompt, params.prior_loss_weight))
    every = params.validation_loss_steps
    validation = None
    if every and validation_images is not None:
        validation = prepare_validation(pipeline, validation_images, noise_schedule(pipeline))
    loop = FineTuningLoop(pipeline, halves, params, seed=seed, validation=validation)

    # Go on from the last checkpoint, if any.
    done, history = 0, list[dict[str, float]]()
    state = checkpoint.load() if checkpoint else None
    if state:
        done, history = state["step"], state["history"]
        loop.restore(state["loop"])
        for row in history:
            report(int(row["step"]), {name: value for name, value in row.items() if name != "step"})

    last = params.training_steps
    for step in progress(range(done + 1, last + 1), title="DreamBooth", total=last - done):
        loop.step(step)
        # One row has all columns, so with a validation loss its steps are those of the rows.
        if step % (every or REPORT_STEPS) == 0 or step == last:
            means = loop.report() | loop.validate(step)
            history.append({"step": step, **means})
            report(step, means)
        # Previews before the first and after the last step are drawn by the stage itself.
        if preview and params.preview_steps and step % params.preview_steps == 0 and step < last:
            with loop.ready_to_draw():
                preview(step)
        if checkpoint and step < last and checkpoint.is_due():
            checkpoint.save({"step": step, "history": history, "loop": loop.state()})
    loop.finish()
    return history


class FineTuningLoop:
    """The state of one fine-tuning run: trainable weights, optimizer, moving average, random stream and prompts."""

    def __init__(
        self,
        pipeline: Pipeline,
        halves: Sequence[Half],
        params: DreamBoothParams,
        *,
        seed: int,
        validation: Validation | None = None,
    ) -> None:
        self._validation, self.best = validation, BestStep()
        self._pipeline, self._halves, self._params = pipeline, halves, params
        self._stream = torch_stream(derive_seed(seed, halves[0].prompt))
        device = self._device = pipeline.device
        self._dtype = resolve_precision(params.precision, device)

        # Trainable weights; one tensor on a CPU, where per-tensor overhead exceeds the arithmetic for hundreds of them.
        weights = adapt(pipeline, params, self._dtype, seed=derive_seed(seed, "adapter"))
        self._flat = flatten(weights, device)
        self._weights = [self._flat.tensor] if self._flat else weights

        # Noise levels, optimizer, schedule, moving average, loss scaling, prompts.
        self._noise_levels = noise_schedule(pipeline)
        self._optimizer = build_optimizer(self._weights, params)
        all_weights = [weight for model in networks(pipeline) for weight in model.parameters()]
        announce("DreamBooth", device, name_precision(self._dtype), all_weights, self._weights)
        self._schedule = get_scheduler(
            SCHEDULES[params.schedule],
            self._optimizer,
            num_warmup_steps=params.warmup_steps,
            num_training_steps=params.training_steps,
        )
        self._average = None if params.ema_decay is None else moving_average(self._weights, params.ema_decay)
        # Only float16 needs loss scaling; bfloat16 has the range of float32.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)
        self._num_skipped_steps = 0
        self._prompts = Prompts(pipeline, halves, params, self._dtype)
        self.monitor = LossMonitor([f"{half.name}_loss" for half in halves], device)
        self._progress = Progress(
            weights=self._weights,
            optimizer=self._optimizer,
            schedule=self._schedule,
            stream=self._stream,
            average=self._average,
            monitor=self.monitor,
        )
        self._set_training(is_on=True)
        self._set_aside(is_on=True)

    def step(self, step: int) -> None:
        """One optimizer step, with gradient accumulation."""
        # Forward and backward.
        num_passes = self._params.gradient_accumulation_steps
        for _ in range(num_passes):
            losses = half_losses(
                self._pipeline.unet,
                self._noise_levels,
                self._halves,
                self._prompts(),
                self._params,
                self._stream,
                self._dtype,
            )
            loss = torch.stack([half.weight * value for half, value in zip(self._halves, losses, strict=True)]).sum()
            self._scaler.scale(loss / num_passes).backward()
            self.monitor.add(step, losses)
        if self._flat:
            self._flat.gather_gradients()

        # Optimizer step; clipping needs unscaled gradients.
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._weights, self._params.max_grad_norm)
        self._scaler.step(self._optimizer)
        self._optimizer.zero_grad()

        # Learning rate and moving average. The scaler skips a step, and lowers its scale, if gradients are not finite.
        scale = self._scaler.get_scale()
        self._scaler.update()
        if self._scaler.get_scale() < scale:
            self._num_skipped_steps += 1
            return
        self._schedule.step()
        if self._average:
            self._average.step(self._weights)

    def report(self) -> dict[str, float]:
        """The mean loss of each term since the last report, and with float16 the number of skipped steps so far.

        Raises:
            ValueError: a loss was not finite.
        """
        means = self.monitor.means(where="dreambooth", way_out="lower dreambooth.learning_rate")
        return means | ({"skipped_steps": self._num_skipped_steps} if self._scaler.is_enabled() else {})

    def validate(self, step: int) -> dict[str, float]:
        """The validation loss of the weights that would be kept now; empty without validation photos."""
        if not self._validation:
            return {}
        with self._kept_weights(), torch.no_grad():
            prompt = self._prompts()[:1]  # that of the instance half
            loss = self._validation.loss(self._pipeline.unet, self._noise_levels, prompt, self._dtype)
            if self._params.selection == "validation_loss":
                self.best.offer(step, loss, self._weights)
        return {"validation_loss": loss}

    @contextmanager
    def ready_to_draw(self) -> Iterator[None]:
        """The whole pipeline on its device, with the weights that would be kept now, for sampling."""
        self._set_aside(is_on=False)
        try:
            with self._kept_weights():
                yield
        finally:
            self._set_aside(is_on=True)

    @contextmanager
    def _kept_weights(self) -> Iterator[None]:
        """Swap in the weights that would be kept now (the moving average, if any), then restore them."""
        if self._average:
            self._average.store(self._weights)
            self._average.copy_to(self._weights)
        self._set_training(is_on=False)
        try:
            yield
        finally:
            self._set_training(is_on=True)
            if self._average:
                self._average.restore(self._weights)

    def state(self) -> State:
        """All that changes from step to step."""
        return {
            **self._progress.state(),
            "scaler": self._scaler.state_dict(),
            "num_skipped_steps": self._num_skipped_steps,
            "best": self.best.state(),
            "random": torch.get_rng_state(),  # of the text encoder's dropout, if it has any
        }

    def restore(self, state: State) -> None:
        """Go on from a saved state."""
        self._progress.restore(state)
        self._scaler.load_state_dict(state["scaler"])
        self._num_skipped_steps = state["num_skipped_steps"]
        self.best.restore(state["best"])
        torch.set_rng_state(state["random"])

    def finish(self) -> None:
        """Leave the final weights in the pipeline: those of the best step, or the moving average, if there is one."""
        if self.best.weights:
            print(f"DreamBooth: keeps step {self.best.step}, validation loss {self.best.loss:.4f}", file=sys.stderr)
            with torch.no_grad():
                for weight, value in zip(self._weights, self.best.weights, strict=True):
                    weight.copy_(value)
        elif self._average:
            self._average.copy_to(self._weights)
        self._set_training(is_on=False)
        self._set_aside(is_on=False)

    def _set_aside(self, *, is_on: bool) -> None:
        """Move the VAE, and text encoders that are not trained, off the device or back: their outputs are cached."""
        trains_text = self._params.train_text_encoder
        for part in (self._pipeline.vae, *([] if trains_text else text_encoders(self._pipeline))):
            part.to(SPARE if is_on else self._device)
        if is_on and self._device.type == "cuda":
            torch.cuda.empty_cache()  # or what they had would stay with torch

    def _set_training(self, *, is_on: bool) -> None:
        self._pipeline.unet.train(is_on)
        for encoder in text_encoders(self._pipeline):
            encoder.train(is_on and self._params.train_text_encoder)


def build_optimizer(weights: Sequence[nn.Parameter], params: DreamBoothParams) -> torch.optim.Optimizer:
    """Fused AdamW, or AdamW with 8-bit moments from bitsandbytes."""
    if params.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(weights, lr=params.learning_rate, weight_decay=params.weight_decay)
    return optimizer
