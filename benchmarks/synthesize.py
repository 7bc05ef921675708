"""Benchmark of synthesis: ours, the bare UNet calls, and diffusers' StableDiffusionPipeline used as in its README.

All three draw from the same pipeline with the same sampler, steps and guidance. The pipeline draws batches of
4 in its default precision (float32) and saves PNG files as its README does; ours writes the files and the manifest of
`synthesize`. `bare` makes the same number of UNet calls in our batches, and nothing else.

Runs alternate. The last line printed is one JSON object: images per second, `images_ratio` (ours over the pipeline's)
and `whole_over_floor` (our time over that of the bare calls).
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from bases import SMALL, VERSIONS, build_base
from diffusers import StableDiffusionPipeline
from results import add_write_option, write_results

from sdaug.common.device import prepare_device
from sdaug.common.params import SynthesisDrawing
from sdaug.common.precision import name_precision, resolve_precision
from sdaug.common.synthetic import PLAIN
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.sampling import cast_weights, guided_prompts
from sdaug.diffusion.schedules import SAMPLERS
from sdaug.synthesize.synthesis import Order, synthesize

PIPELINE_BATCH_SIZE = 4
PROMPT = "a photo of a zwa teat end"


def time_ours(pipeline: StableDiffusionPipeline, drawing: SynthesisDrawing, num_images: int, size: int) -> float:
    """The seconds that our synthesis takes, files and manifest included."""
    order = Order(
        label="rare",
        draw=0,
        variant=PLAIN,
        prompt=PROMPT,
        drawing=drawing,
        size_pixels=size,
        num_images=num_images,
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        synthesize(pipeline, order, Path(folder))
        return time.monotonic() - begin


def time_pipeline(pipeline: StableDiffusionPipeline, drawing: SynthesisDrawing, num_images: int, size: int) -> float:
    """The seconds that diffusers' own pipeline takes, with four prompts per call."""
    pipeline.scheduler = SAMPLERS[drawing.sampler].from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        for start in range(0, num_images, PIPELINE_BATCH_SIZE):
            images = pipeline(
                [PROMPT] * PIPELINE_BATCH_SIZE,
                guidance_scale=drawing.guidance_scale,
                num_inference_steps=drawing.inference_steps,
                height=size,
                width=size,
            ).images
            for index, image in enumerate(images):
                image.save(Path(folder) / f"{start + index}.png")
        return time.monotonic() - begin


@torch.no_grad()
def time_bare(pipeline: StableDiffusionPipeline, drawing: SynthesisDrawing, num_images: int, size: int) -> float:
    """The seconds that the UNet calls alone take, in our batches and precision."""
    cast_weights(pipeline, drawing.precision)
    unet, device = pipeline.unet.to(memory_format=torch.channels_last), pipeline.device
    guided = guided_prompts(pipeline, PROMPT, drawing, height=size, width=size)
    prompts = guided.tokens.repeat_interleave(drawing.batch_size, dim=0)
    side = size // pipeline.vae_scale_factor
    noisy = torch.randn(len(prompts), unet.config.in_channels, side, side, device=device)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    noisy, prompts, timestep = noisy.to(unet.dtype), prompts.to(unet.dtype), torch.tensor(500, device=device)
    begin = time.monotonic()
    # Ours fills up its last batch, so the bare calls do too.
    for _ in range(-(-num_images // drawing.batch_size) * drawing.inference_steps):
        unet(noisy, timestep, encoder_hidden_states=prompts, return_dict=False)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64, help="images per round")
    parser.add_argument("--batch-size", type=int, default=16, help="our batch size")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=7.5)
    parser.add_argument("--sampler", default="dpm_solver", choices=tuple(SAMPLERS))
    parser.add_argument("--size", type=int, default=64, help="image size in pixels")
    parser.add_argument("--base", default=SMALL, choices=(SMALL, *VERSIONS), help="Stable Diffusion to draw with")
    add_write_option(parser)
    args = parser.parse_args()

    # Settings of all three sides.
    device = prepare_device()
    drawing = SynthesisDrawing(
        negative_prompt="",
        guidance_scale=args.guidance_scale,
        inference_steps=args.steps,
        sampler=args.sampler,
        batch_size=args.batch_size,
        precision=name_precision(resolve_precision("auto", device)),
        start="noise",
        strength=None,
    )
    seconds: dict[str, list[float]] = {"ours": [], "pipeline": [], "bare": []}
    # The same weights twice, because ours changes their precision and memory layout in place.
    with tempfile.TemporaryDirectory() as folder:
        save_pipeline(build_base(args.base), Path(folder) / "base")
        plain = StableDiffusionPipeline.from_pretrained(Path(folder) / "base").to(device)
        own = load_pipeline(Path(folder) / "base", device)
    for timed in (time_bare, time_ours):
        timed(own, drawing, args.batch_size, args.size)  # the first calls select their kernels
    # Take turns.
    for _ in range(args.rounds):
        seconds["bare"].append(time_bare(own, drawing, args.images, args.size))
        seconds["ours"].append(time_ours(own, drawing, args.images, args.size))
        seconds["pipeline"].append(time_pipeline(plain, drawing, args.images, args.size))
        print({name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
    # Report.
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {f"{name}_images_per_s": round(args.images / value, 2) for name, value in medians.items()}
    result["images_ratio"] = round(medians["pipeline"] / medians["ours"], 3)
    result["whole_over_floor"] = round(medians["ours"] / medians["bare"], 3)
    if args.write:
        write_results("synthesize", {f"{args.base}, {args.size} px, {drawing.precision}": result})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
