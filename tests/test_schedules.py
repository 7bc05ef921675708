"""The base's scheduler stays as it was published, and samplers are those that plain diffusers makes from it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler
from small import BASE, build_small

from sdaug.common.params import SamplerName
from sdaug.diffusion.layout import SCHEDULER
from sdaug.diffusion.pipelines import load_pipeline, save_pipeline
from sdaug.diffusion.schedules import SAMPLERS, build_sampler, noise_schedule

CPU = torch.device("cpu")
SHIPPED = Path(__file__).parents[1] / "pretrained" / "small"
SHARED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
PUBLISHED = {  # the schedulers of Stable Diffusion as they were published
    "1.5": {"_class_name": "PNDMScheduler", **SHARED},
    "2.1": {"_class_name": "DDIMScheduler", **SHARED, "prediction_type": "v_prediction"},
    "2.1, PNDM": {"_class_name": "PNDMScheduler", **SHARED, "prediction_type": "v_prediction"},
}
CLASSES = {"PNDMScheduler": PNDMScheduler, "DDIMScheduler": DDIMScheduler}


def write_base(folder: Path, scheduler: dict[str, Any]) -> Path:
    """A folder in the diffusers layout with a scheduler of one's own."""
    save_pipeline(build_small(), folder)
    (folder / SCHEDULER).write_text(json.dumps(scheduler))
    index = folder / "model_index.json"
    values = json.loads(index.read_text()) | {"scheduler": ["diffusers", scheduler["_class_name"]]}
    index.write_text(json.dumps(values))
    return folder


@pytest.fixture(scope="module", params=list(PUBLISHED))
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("published") / "base", PUBLISHED[request.param])


@pytest.fixture(scope="module")
def saved(published: Path) -> Path:
    """The published base, loaded and saved as the stage `base` does it."""
    folder = published.with_name("saved")
    save_pipeline(load_pipeline(published, CPU), folder)
    return folder


def settings(folder: Path) -> dict[str, Any]:
    """The scheduler's config without the version of diffusers that wrote it."""
    values: dict[str, Any] = json.loads((folder / SCHEDULER).read_text())
    return {key: value for key, value in values.items() if key != "_diffusers_version"}


def test_scheduler_is_saved_as_it_was_published(published: Path, saved: Path) -> None:
    assert settings(saved) == settings(published)
    indices = [json.loads((folder / "model_index.json").read_text())["scheduler"] for folder in (published, saved)]
    assert indices[0] == indices[1]


@pytest.mark.parametrize("inference_steps", [12, 25, 50])
@pytest.mark.parametrize("name", get_args(SamplerName))
def test_timesteps_are_those_of_plain_diffusers(
    published: Path, saved: Path, name: SamplerName, inference_steps: int
) -> None:
    original = CLASSES[settings(published)["_class_name"]].from_pretrained(published, subfolder="scheduler")
    theirs = SAMPLERS[name].from_config(original.config)
    ours = build_sampler(load_pipeline(saved, CPU), name)
    for sampler in (theirs, ours):
        sampler.set_timesteps(inference_steps)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    # All other settings too.
    assert {key: value for key, value in ours.config.items() if key[0] != "_"} == {
        key: value for key, value in theirs.config.items() if key[0] != "_"
    }


def test_dpm_solver_begins_at_the_last_timestep(saved: Path) -> None:
    sampler = build_sampler(load_pipeline(saved, CPU), "dpm_solver")
    sampler.set_timesteps(20)
    assert int(sampler.timesteps[0]) == 999


def test_noise_levels_for_training_are_the_published_ones(published: Path, saved: Path) -> None:
    ours = noise_schedule(load_pipeline(saved, CPU))
    theirs = DDPMScheduler.from_pretrained(published, subfolder="scheduler")
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert ours.config.prediction_type == theirs.config.prediction_type


def test_saving_and_loading_a_new_base_keeps_its_scheduler(tmp_path: Path) -> None:
    built = build_small()
    save_pipeline(built, tmp_path / "base")
    loaded = load_pipeline(tmp_path / "base", CPU)
    for name in set(get_args(SamplerName)) - {"pndm"}:
        first, second = (build_sampler(pipeline, name) for pipeline in (built, loaded))
        assert dict(first.config) == dict(second.config)
        assert torch.equal(first.alphas_cumprod, second.alphas_cumprod)


def test_ddim_never_clips_latents_whatever_the_base_draws_with(tmp_path: Path) -> None:
    scheduler = {key: value for key, value in PUBLISHED["1.5"].items() if key != "clip_sample"}
    pipeline = load_pipeline(write_base(tmp_path / "base", scheduler), CPU)
    assert build_sampler(pipeline, "ddim").config.clip_sample is False


def test_pndm_is_refused_where_the_last_timestep_is_pure_noise() -> None:
    pipeline = build_small()
    assert float(noise_schedule(pipeline).alphas_cumprod[-1]) == 0.0
    with pytest.raises(ValueError, match=r"^sampler: 'pndm'; .*pure noise.*use dpm_solver, unipc, ddim or euler"):
        build_sampler(pipeline, "pndm")


def test_every_name_has_its_sampler() -> None:
    assert set(SAMPLERS) == set(get_args(SamplerName))


@pytest.mark.parametrize("is_zero", [False, True])
def test_noise_of_a_local_base_is_known_before_it_is_loaded(tmp_path: Path, is_zero: bool) -> None:
    folder = write_base(tmp_path / "base", {**PUBLISHED["2.1"], "rescale_betas_zero_snr": is_zero})
    (tmp_path / "weights.safetensors").touch()
    assert replace(BASE, model=str(folder)).has_zero_terminal_snr() == is_zero
    file = replace(BASE, model=str(tmp_path / "weights.safetensors"), config=folder)
    assert file.has_zero_terminal_snr() == is_zero


def test_noise_of_the_shipped_base_is_known_and_that_of_a_hub_is_not() -> None:
    assert replace(BASE, model=str(SHIPPED)).has_zero_terminal_snr()
    assert not replace(BASE, model="someone/small").has_zero_terminal_snr()


def test_damaged_scheduler_is_named(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", PUBLISHED["1.5"])
    (folder / SCHEDULER).write_text("{")
    with pytest.raises(ValueError, match=r"scheduler_config\.json: damaged .*copy the folder again"):
        replace(BASE, model=str(folder)).has_zero_terminal_snr()
