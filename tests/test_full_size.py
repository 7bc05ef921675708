"""Stable Diffusion 1.5, 2.1 and XL at full size with random weights: saving, loading, a DreamBooth step and sampling.

Slow, and needs 20 GB of memory and, for SDXL, 15 GB of disk: `pytest -m slow tests/test_full_size.py`. Photos are
small, since the networks accept any multiple of 64 pixels.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import VERSIONS, build_full_size, build_xl
from test_dreambooth import CONCEPT, KNOBS
from test_sampling import DRAWING, PROMPT

from sdaug.diffusion.generators import load_generator
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.sampling import draw_pixels
from sdaug.dreambooth.adapters import save_generator
from sdaug.dreambooth.fine_tuning import train_dreambooth

CPU = torch.device("cpu")
SIZE_PIXELS = 64
XL, XL_NUM_WEIGHTS = "xl", 2_567_463_684


@pytest.fixture(scope="module", params=[*VERSIONS, XL])
def base(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    path = tmp_path_factory.mktemp("full_size") / request.param
    save_pipeline(build_xl() if request.param == XL else build_full_size(VERSIONS[request.param]), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_full_size_goes_through_everything(base: Path, tmp_path: Path, method: str) -> None:
    if base.name == XL and method == "full":
        pytest.skip("41 GB for weights, gradients and moments")
    pipeline = load_pipeline(base, CPU)
    wanted = XL_NUM_WEIGHTS if base.name == XL else VERSIONS[base.name].num_weights
    assert sum(weight.numel() for weight in pipeline.unet.parameters()) == wanted
    knobs = replace(KNOBS, method=method, training_steps=1, batch_size=1)
    photos = np.random.default_rng(0).integers(0, 256, (2, SIZE_PIXELS, SIZE_PIXELS, 3), dtype=np.uint8)
    losses: list[dict[str, float]] = []
    train_dreambooth(
        pipeline,
        photos,
        photos,
        params=knobs,
        concept=CONCEPT,
        class_prompt="a photo",
        seed=0,
        report=lambda _, values: losses.append(dict(values)),
    )
    assert all(np.isfinite(value) for value in losses[0].values())
    save_generator(pipeline, base, tmp_path / "rare", knobs)
    del pipeline
    generator = load_generator(tmp_path / "rare", base, CPU)
    drawing = replace(DRAWING, batch_size=1, inference_steps=2)
    assert draw_pixels(generator, PROMPT, drawing, [1], height=SIZE_PIXELS, width=SIZE_PIXELS, title="sample").std() > 0
