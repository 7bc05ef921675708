"""Generating the synthetic images of one class; faulty images are rejected and resampled with another seed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sdaug.common.device import announce
from sdaug.common.faults import MAX_ATTEMPTS, REASONS, draw_sound
from sdaug.common.images import read_png, save_png
from sdaug.common.params import SynthesisDrawing
from sdaug.common.precision import name_precision, resolve_precision
from sdaug.common.seeding import derive_seed
from sdaug.common.synthetic import PLAIN, SyntheticImage
from sdaug.diffusion.sampling import DrawnImage, cast_weights, draw_images
from sdaug.diffusion.versions import Pipeline, networks
from sdaug.synthesize.starts import Sources


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to draw: so many images of a class, with one generator, in one variant."""

    label: str
    draw: int
    variant: str
    prompt: str
    drawing: SynthesisDrawing
    size_pixels: int
    num_images: int
    sources: Sources | None = None

    def seed(self, index: int, attempt: int) -> int:
        """The seed of an image; `plain` images keep theirs whatever variants there are."""
        purpose = self.label if self.variant == PLAIN else f"{self.label}/{self.variant}"
        return image_seed(self.draw, purpose, index, attempt)

    def record(self, index: int, seed: int, drawing: SynthesisDrawing) -> SyntheticImage:
        """The manifest row of an image."""
        return SyntheticImage(
            label=self.label,
            draw=self.draw,
            variant=self.variant,
            photo=self.sources.photo_id(index) if self.sources else "",
            seed=seed,
            prompt=self.prompt,
            height=self.size_pixels,
            width=self.size_pixels,
            drawing=drawing,
        )


def synthesize(
    pipeline: Pipeline, order: Order, out_dir: Path, indices: range | None = None
) -> tuple[list[SyntheticImage], dict[str, int]]:
    """Write PNG files, named by seed; returns their records and the rejected ones by reason.

    Of the order's images those with these `indices`, which are all by default.
    Files that a stopped run has left in `out_dir` are not drawn again.

    Raises:
        ValueError: an image was rejected `MAX_ATTEMPTS` times.
    """
    drawing = order.drawing
    cast_weights(pipeline, drawing.precision)
    # Resolve `auto`, since the manifest may be read on another machine.
    drawing = replace(drawing, precision=name_precision(resolve_precision(drawing.precision, pipeline.device)))
    weights = [weight for model in networks(pipeline) for weight in model.parameters()]
    announce(f"{order.label}, draw {order.draw}", pipeline.device, drawing.precision, weights)
    wanted, rejected = range(order.num_images) if indices is None else indices, dict.fromkeys(REASONS, 0)
    kept: dict[int, SyntheticImage] = {}
    files = []
    with ThreadPoolExecutor(1) as pool:  # files are written while the next batch is sampled
        draw = partial(_draw, pipeline, order, out_dir)
        for index, image in draw_sound(draw, wanted, rejected):
            kept[index] = order.record(index, image.seed, drawing)
            files.append(pool.submit(save_png, out_dir / kept[index].file_name, image.pixels))
    # Wait for the files; a failed write raises here.
    for file in files:
        file.result()
    num_missing = len(wanted) - len(kept)
    if num_missing:
        raise ValueError(
            f"{order.label}: {num_missing} of {len(wanted)} images were rejected {MAX_ATTEMPTS} times in a "
            f"row ({', '.join(f'{count} {reason}' for reason, count in rejected.items() if count)}); the generator is "
            "broken: lower dreambooth.learning_rate, or use precision fp32"
        )
    # In order of index, whichever images were drawn again.
    counts = {"num_images": len(wanted), **{f"num_{reason}": count for reason, count in rejected.items()}}
    return [kept[index] for index in wanted], counts


def _draw(
    pipeline: Pipeline, order: Order, out_dir: Path, indices: Sequence[int], attempt: int
) -> Iterator[DrawnImage]:
    """One image per index. A seed depends on the index, not on how many images are drawn."""
    seeds = {index: order.seed(index, attempt) for index in indices}
    files = {index: out_dir / order.record(index, seeds[index], order.drawing).file_name for index in indices}
    is_there = {index: path.is_file() for index, path in files.items()}
    missing = [index for index in indices if not is_there[index]]
    drawn = iter(
        draw_images(
            pipeline,
            order.prompt,
            order.drawing,
            [seeds[index] for index in missing],
            height=order.size_pixels,
            width=order.size_pixels,
            title=order.label if order.variant == PLAIN else f"{order.label}, {order.variant}",
            start=order.sources.start(missing) if order.sources else None,
        )
    )
    for index in indices:
        # A file holds an image that was accepted, so it was finite.
        yield DrawnImage(seeds[index], read_png(files[index]), True) if is_there[index] else next(drawn)


def image_seed(draw: int, label: str, index: int, attempt: int) -> int:
    """The seed of an image; each further attempt after a rejection has its own."""
    purpose = (label, index) if attempt == 0 else (label, index, attempt)
    return derive_seed(draw, *purpose) >> 31  # 32 bits: the ten digits of a file name
