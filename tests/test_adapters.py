"""Saved generators: a pipeline that shares the base's files, or LoRA weights that plain diffusers loads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from small import build_small
from test_dreambooth import KNOBS, tune
from test_pipelines import contents
from test_sampling import DRAWING, PROMPT, SIZE

from sdaug.diffusion.attention import share_prompts
from sdaug.diffusion.generators import KOHYA_WEIGHTS, LORA_WEIGHTS, load_generator
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


@pytest.mark.parametrize("file", [LORA_WEIGHTS, KOHYA_WEIGHTS])
@pytest.mark.parametrize("lora_alpha", [None, 8.0], ids=["alpha is the rank", "alpha is four times the rank"])
@pytest.mark.parametrize("has_text", [False, True], ids=["unet", "unet and text encoder"])
def test_plain_diffusers_draws_from_either_lora_file_what_the_tuned_pipeline_draws(
    base: Path, tmp_path: Path, file: str, lora_alpha: float | None, has_text: bool
) -> None:
    knobs = replace(LORA, train_text_encoder=has_text, lora_alpha=lora_alpha)
    tuned = tune_and_save(base, tmp_path / "rare", knobs)
    plain = StableDiffusionPipeline.from_pretrained(base)
    plain.load_lora_weights(tmp_path / "rare", weight_name=file)
    share_prompts(plain.unet)
    theirs, ours = draw(plain), draw(tuned)
    assert np.abs(theirs.astype(int) - ours).max() <= 1
    assert np.abs(theirs.astype(int) - draw(load_pipeline(base, CPU))).max() > 1


@pytest.mark.parametrize("file", [LORA_WEIGHTS, KOHYA_WEIGHTS])
def test_alpha_in_the_file_counts(base: Path, tmp_path: Path, file: str) -> None:
    tuned = tune_and_save(base, tmp_path / "rare", replace(LORA, lora_alpha=8.0))
    plain = StableDiffusionPipeline.from_pretrained(base)
    plain.load_lora_weights(tmp_path / "rare", weight_name=file)
    scales = {layer.scaling[layer.active_adapter[0]] for layer in adapters_of(plain)}
    assert scales == {8.0 / LORA.lora_rank} == {layer.scaling["default"] for layer in adapters_of(tuned)}


def adapters_of(pipeline: StableDiffusionPipeline) -> list[BaseTunerLayer]:
    return [module for module in pipeline.unet.modules() if isinstance(module, BaseTunerLayer)]


def test_diffusers_takes_its_own_file_from_the_folder(base: Path, tmp_path: Path) -> None:
    tune_and_save(base, tmp_path / "rare", LORA)
    assert set(contents(tmp_path / "rare")) == {LORA_WEIGHTS, KOHYA_WEIGHTS}
    found, _ = StableDiffusionPipeline.lora_state_dict(tmp_path / "rare")
    assert set(found) == set(load_file(tmp_path / "rare" / LORA_WEIGHTS))


def test_names_in_the_lora_files_are_those_of_stable_diffusion_1_5(base: Path, tmp_path: Path) -> None:
    tune_and_save(base, tmp_path / "rare", replace(LORA, train_text_encoder=True))
    layer, attention = "encoder_layers_1_self_attn_q_proj", "mid_block_attentions_0_transformer_blocks_0_attn2"
    named = load_file(tmp_path / "rare" / LORA_WEIGHTS)
    assert "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.down.weight" in named
    assert "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0.lora.up.weight" in named
    kohya = load_file(tmp_path / "rare" / KOHYA_WEIGHTS)
    for stem in (f"lora_te_text_model_{layer}", f"lora_unet_{attention}_to_out_0"):
        shapes = {name: tuple(kohya[f"{stem}.{name}"].shape) for name in ("lora_down.weight", "lora_up.weight")}
        assert shapes["lora_down.weight"][0] == shapes["lora_up.weight"][1] == LORA.lora_rank
        assert float(kohya[f"{stem}.alpha"]) == LORA.lora_rank
    assert all(name.startswith(("lora_unet_", "lora_te_text_model_")) for name in kohya)


def test_every_kind_of_layer_comes_back_from_kohyas_names(base: Path, tmp_path: Path) -> None:
    targets = ["to_q", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "time_emb_proj"]
    tuned = tune_and_save(base, tmp_path / "rare", replace(LORA, lora_targets=targets, learning_rate=0.01))
    plain = StableDiffusionPipeline.from_pretrained(base)
    plain.load_lora_weights(tmp_path / "rare", weight_name=KOHYA_WEIGHTS)
    assert len(adapters_of(plain)) == len(adapters_of(tuned))
    share_prompts(plain.unet)
    assert np.abs(draw(plain).astype(int) - draw(tuned)).max() <= 1


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
