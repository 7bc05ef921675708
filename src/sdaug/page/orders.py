"""What can be drawn: an order is checked, and drawn by the very code of the stage `synthesize`.

An image is a function of weights, prompt, seed and settings, batch size included (docs/generators.md). Image n of an
order has its seed plus n, as in AUTOMATIC1111's web UI; so the first one of an order is the image of that seed.
"""

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.common.device import prepare_device
from sdaug.common.params import Drawing
from sdaug.common.precision import name_precision, resolve_precision
from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.generators import load_generator
from sdaug.diffusion.redraw import redraw
from sdaug.diffusion.sampling import DrawnImage, cast_weights, draw_images
from sdaug.diffusion.versions import Pipeline
from sdaug.page.parameters import write_parameters
from sdaug.page.study_folder import BASE, StudyFolder

LARGEST_SEED = 2**53 - 1  # what a browser's numbers hold
SMALLEST_SIDE, LARGEST_SIDE, MOST_STEPS, MOST_IMAGES = 16, 2048, 1000, 400
MOST_BATCH_PIXELS = 64 * 512 * 512
NUM_KEPT = 2  # pipelines: a generator, and the base that it is compared with


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to draw: `num_batches` batches of `drawing.batch_size` images, from `seed` on."""

    model: str
    prompt: str
    drawing: Drawing
    width: int
    height: int
    seed: int
    num_batches: int

    @property
    def seeds(self) -> list[int]:
        return list(range(self.seed, self.seed + self.num_batches * self.drawing.batch_size))

    def parameters(self, seed: int) -> str:
        """The text of the image with this seed."""
        drawing = asdict(self.drawing)
        own = {key: getattr(self, key) for key in ("model", "prompt", "width", "height")}
        return write_parameters({**drawing, **own, "steps": self.drawing.inference_steps, "seed": seed})


def make_order(values: dict[str, Any]) -> Order:
    """An order from the values of the fields; a seed of -1 becomes one drawn at random.

    Raises:
        ValueError: a value does not fit; names the field, the rule, the value and the way out.
    """
    prompt, negative = _tidy(values["prompt"]), _tidy(values["negative_prompt"])
    if not prompt:
        raise ValueError("Prompt: empty; say what to draw, such as the prompt of the study that `Model` sets")
    width, height = (_whole(values, name, SMALLEST_SIDE, LARGEST_SIDE) for name in ("width", "height"))
    for name, size in (("Width", width), ("Height", height)):
        if size % 8:
            near = max(SMALLEST_SIDE, round(size / 8) * 8)
            raise ValueError(f"{name}: {size}, need a multiple of 8, as latents are 8 times smaller; try {near}")
    steps = _whole(values, "steps", 1, MOST_STEPS)
    size, count = _whole(values, "batch_size", 1, MOST_IMAGES), _whole(values, "batch_count", 1, MOST_IMAGES)
    _check_amount(size, count, width, height)
    seed = _whole(values, "seed", -1, LARGEST_SEED)
    drawing = Drawing(
        negative_prompt=negative,
        guidance_scale=_number(values["guidance_scale"], "Guidance scale"),
        inference_steps=steps,
        sampler=values["sampler"],
        batch_size=size,
        precision=values["precision"],
    )
    return Order(
        model=str(values["model"] or ""),
        prompt=prompt,
        drawing=drawing,
        width=width,
        height=height,
        seed=secrets.randbelow(2**32) if seed == -1 else seed,
        num_batches=count,
    )


class Artist:
    """Loads pipelines, keeps the last ones, and draws; for one order at a time."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        self._kept: dict[tuple[object, ...], Pipeline] = {}
        self._lock = threading.Lock()  # distances are measured beside a drawing

    def draw(self, order: Order) -> Iterator[DrawnImage]:
        """The images of an order, each with its seed.

        Raises:
            FileNotFoundError: the model is not there.
            ValueError: the sampler does not fit the base.
        """
        pipeline = self.load(order.model, order.drawing)
        yield from draw_images(
            pipeline,
            order.prompt,
            order.drawing,
            order.seeds,
            height=order.height,
            width=order.width,
            title=order.model,
        )

    def redraw(self, image: SyntheticImage) -> NDArray[np.uint8]:
        """A synthetic image of the study once more, as `sdaug redraw` does it."""
        pipeline = self.load(f"{image.label}/{image.draw}", image.drawing)
        (pixels,) = redraw(pipeline, [image], self.folder.prepared, title=image.id)
        found: NDArray[np.uint8] = pixels
        return found

    def resolve(self, order: Order) -> Order:
        """The order with precision `auto` resolved, as another machine may resolve it otherwise."""
        name = name_precision(resolve_precision(order.drawing.precision, prepare_device()))
        return replace(order, drawing=replace(order.drawing, precision=name))

    def load(self, model: str, drawing: Drawing) -> Pipeline:
        """A pipeline whose weights are in the precision of sampling."""
        device, folder = prepare_device(), self.folder.model_dir(model)
        # A pipeline cast to fewer bits has lost the others, so each precision has its own; newer files are read anew.
        key = (model, resolve_precision(drawing.precision, device), *_stamps(folder), *_stamps(self.folder.base))
        with self._lock:
            pipeline = self._kept.pop(key, None)
            if pipeline is None:
                while len(self._kept) >= NUM_KEPT:
                    self._kept.pop(next(iter(self._kept)))
                pipeline = load_generator(folder, self.folder.base, device)
                cast_weights(pipeline, drawing.precision)
            self._kept[key] = pipeline  # the last one used is given up last
        return pipeline

    def release(self) -> None:
        """Give up all pipelines and the device's memory."""
        with self._lock:
            self._kept.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def pipelines(self) -> Sequence[Pipeline]:
        """Those that are kept, the last used at the end."""
        return list(self._kept.values())


def base_order(order: Order) -> Order:
    """The first image of an order, as the base draws it from the same noise."""
    return replace(order, model=BASE, num_batches=1)


def _check_amount(size: int, count: int, width: int, height: int) -> None:
    if size * count > MOST_IMAGES:
        raise ValueError(
            f"Batch count and size: {count} x {size} = {size * count} images, need at most {MOST_IMAGES} at a time; "
            f"lower the batch count to {max(1, MOST_IMAGES // size)}, and press Generate again for more"
        )
    if size * width * height > MOST_BATCH_PIXELS:
        most = max(1, MOST_BATCH_PIXELS // (width * height))
        raise ValueError(
            f"Batch size: {size} images of {width} x {height} at once, more than memory holds; lower it to {most} or "
            "less, and raise the batch count instead"
        )


def _whole(values: dict[str, Any], name: str, least: int, most: int) -> int:
    title = name.replace("_", " ").capitalize()
    value = _number(values[name], title)
    if value != int(value) or not least <= value <= most:
        raise ValueError(f"{title}: {value:.17g}, need a whole number from {least} to {most}; correct it")
    return int(value)


def _number(value: object, title: str) -> float:
    if not isinstance(value, int | float) or value != value:
        raise ValueError(f"{title}: empty, need a number; fill it in")
    return float(value)


def _tidy(text: object) -> str:
    """A prompt without spaces around its lines, as it is read back from `parameters`."""
    return "\n".join(line.strip() for line in str(text or "").strip().splitlines())


def _stamps(folder: Path) -> tuple[int, ...]:
    """When the files of a model were written."""
    files = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*/*.safetensors"))
    return tuple(path.stat().st_mtime_ns for path in files)
