"""Saved generators: a pipeline that shares the base's files, or LoRA weights that plain diffusers loads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from safetensors.torch import load_file
from small import build_small
from test_dreambooth import KNOBS, tune
from test_pipelines import contents
from test_sampling import DRAWING, PROMPT, SIZE

from sdaug.diffusion.attention import share_prompts
from sdaug.diffusion.generators import LORA_WEIGHTS, load_generator
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.sampling import draw_pixels
from sdaug.dreambooth.adapters import save_generator
from sdaug.dreambooth.params import DreamBoothParams

CPU = torch.device("cpu")
LORA = replace(KNOBS, method="lora", learning_rate=0.05)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "base"
    save_pipeline(build_small(), path)
    return path


def tune_and_save(base: Path, out_dir: Path, knobs: DreamBoothParams) -> StableDiffusionPipeline:
    pipeline, _ = tune(knobs, pipeline=load_pipeline(base, CPU))
    save_generator(pipeline, base, out_dir, knobs)
    return pipeline


def draw(pipeline: StableDiffusionPipeline) -> NDArray[np.uint8]:
    return draw_pixels(pipeline, PROMPT, DRAWING, [1, 2], **SIZE, title="test")


@pytest.mark.parametrize(
    ("change", "trained"),
    [({}, ["unet"]), ({"train_text_encoder": True}, ["text_encoder", "unet"])],
    ids=["unet", "unet and text encoder"],
)
def test_only_what_learned_differs_from_the_base(
    base: Path, tmp_path: Path, change: dict[str, bool], trained: list[str]
) -> None:
    tune_and_save(base, tmp_path / "rare", replace(KNOBS, **change))
    before, after = contents(base), contents(tmp_path / "rare")
    assert set(before) == set(after)
    changed = {name for name, content in after.items() if content != before[name]}
    assert sorted(Path(name).parts[0] for name in changed if name.endswith(".safetensors")) == trained
    assert {Path(name).parts[0] for name in changed} <= set(trained)


def test_full_generator_loads_in_plain_diffusers(base: Path, tmp_path: Path) -> None:
    tuned = tune_and_save(base, tmp_path / "rare", KNOBS)
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path / "rare").unet.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in tuned.unet.state_dict().items())


@pytest.mark.parametrize("has_text", [False, True])
def test_lora_generator_is_one_small_file_that_plain_diffusers_loads(
    base: Path, tmp_path: Path, has_text: bool
) -> None:
    tuned = tune_and_save(base, tmp_path / "rare", replace(LORA, train_text_encoder=has_text))
    assert list(contents(tmp_path / "rare")) == [LORA_WEIGHTS]
    names = load_file(tmp_path / "rare" / LORA_WEIGHTS)
    assert {name.split(".")[0] for name in names} == ({"unet", "text_encoder"} if has_text else {"unet"})
    plain = StableDiffusionPipeline.from_pretrained(base)
    plain.load_lora_weights(tmp_path / "rare")
    share_prompts(plain.unet)
    theirs, ours = draw(plain), draw(tuned)
    assert np.abs(theirs.astype(int) - ours).max() <= 1
    assert np.abs(theirs.astype(int) - draw(load_pipeline(base, CPU))).max() > 1


def test_merged_lora_draws_what_the_tuned_pipeline_draws(base: Path, tmp_path: Path) -> None:
    tuned = tune_and_save(base, tmp_path / "rare", LORA)
    merged = load_generator(tmp_path / "rare", base, CPU)
    assert not any("lora" in name for name, _ in merged.unet.named_modules())
    assert np.abs(draw(merged).astype(int) - draw(tuned)).max() <= 1


@pytest.mark.parametrize("knobs", [KNOBS, LORA], ids=["full", "lora"])
def test_training_twice_gives_the_same_files(base: Path, tmp_path: Path, knobs: DreamBoothParams) -> None:
    for name in ("first", "second"):
        tune_and_save(base, tmp_path / name, knobs)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
