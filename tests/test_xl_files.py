"""Files of SDXL: folders in the diffusers layout, single files, LoRA for other tools, and what is refused by name."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small import SIZE_WIDTH, XL_POOLED, XL_WIDTHS, build_small_xl
from test_adapters import LORA, adapters_of, draw, tune_and_save
from test_dreambooth import KNOBS
from test_pipelines import contents
from test_single_file import original_unet_name, original_vae_name

from sdaug.base.params import check_source
from sdaug.common.params import ConceptParams
from sdaug.diffusion.attention import share_prompts
from sdaug.diffusion.generators import KOHYA_WEIGHTS, LORA_WEIGHTS, load_generator
from sdaug.diffusion.pipelines import load_checkpoint, load_pipeline, save_pipeline
from sdaug.dreambooth.training_checks import check_prompts, check_targets

CPU = torch.device("cpu")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("xl") / "base"
    save_pipeline(build_small_xl(), path)
    return path


def copied(base: Path, target: Path) -> Path:
    shutil.copytree(base, target)
    return target


def test_saved_pipeline_loads_with_plain_diffusers_and_with_ours(base: Path) -> None:
    built = build_small_xl()
    for loaded in (StableDiffusionXLPipeline.from_pretrained(base), load_pipeline(base, CPU)):
        for part in PARTS:
            found = getattr(loaded, part).state_dict()
            assert all(torch.equal(value, found[name]) for name, value in getattr(built, part).state_dict().items())
        assert loaded.tokenizer_2.pad_token == "!" != loaded.tokenizer.pad_token


def test_saving_twice_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    save_pipeline(load_pipeline(base, CPU), tmp_path / "again")
    save_pipeline(load_pipeline(tmp_path / "again", CPU), tmp_path / "third")
    assert contents(tmp_path / "again") == contents(tmp_path / "third")
    names = [name for name in contents(base) if name.endswith(".safetensors")]
    assert len(names) == 4 and all(contents(base)[name] == contents(tmp_path / "again")[name] for name in names)


def test_names_of_text_weights_are_those_of_sdxl(base: Path) -> None:
    first, second = (set(load_file(base / part / "model.safetensors")) for part in PARTS[2:])
    assert {name.split(".")[0] for name in first} == {"text_model"}
    assert {name for name in second if not name.startswith("text_model.")} == {"text_projection.weight"}
    assert all((base / name / "vocab.json").is_file() for name in ("tokenizer", "tokenizer_2"))


def changed(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


REFUSED = {
    "refiner's class": (
        lambda folder: changed(folder, "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline"),
        "is a StableDiffusionXLImg2ImgPipeline, such as SDXL's refiner; supported: .* and SDXL's base",
    ),
    "inpainting class": (
        lambda folder: changed(folder, "model_index.json", _class_name="StableDiffusionXLInpaintPipeline"),
        "is a StableDiffusionXLInpaintPipeline, for inpainting; supported",
    ),
    "refiner's UNet": (
        lambda folder: changed(
            folder, "unet/config.json", projection_class_embeddings_input_dim=XL_POOLED + 5 * SIZE_WIDTH
        ),
        "its UNet takes 104 numbers of text and sizes, and SDXL's base 112: .* its refiner has five",
    ),
    "inpainting UNet": (
        lambda folder: changed(folder, "unet/config.json", in_channels=9),
        "its UNet takes 9 channels, as for inpainting, and its VAE has 4",
    ),
    "UNet without sizes": (
        lambda folder: changed(folder, "unet/config.json", addition_embed_type="text"),
        "numbers of text and sizes",
    ),
    "latent consistency model": (
        lambda folder: changed(folder, "unet/config.json", time_cond_proj_dim=256),
        "takes the guidance scale, as a latent consistency model",
    ),
    "VAE that shifts": (
        lambda folder: changed(folder, "vae/config.json", latents_mean=[0.0] * 4),
        "its VAE shifts latents",
    ),
    "no second encoder": (
        lambda folder: shutil.rmtree(folder / "text_encoder_2"),
        "no text_encoder_2; need a Stable Diffusion",
    ),
    "no second weights": (
        lambda folder: (folder / "text_encoder_2" / "model.safetensors").unlink(),
        r"text_encoder_2 has no \.safetensors weights",
    ),
    "damaged config": (
        lambda folder: (folder / "text_encoder_2" / "config.json").write_text("{"),
        "a part is damaged: text_encoder_2/config.json",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_base_of_sdxl_is_refused_before_anything_runs(base: Path, tmp_path: Path, kind: str) -> None:
    spoil, message = REFUSED[kind]
    spoil(copied(base, tmp_path / "base"))
    with pytest.raises(ValueError, match=message):
        check_source(str(tmp_path / "base"), None)
    with pytest.raises(ValueError, match=message):
        load_pipeline(tmp_path / "base", CPU)


def test_checks_before_training_know_both_tokenizers(base: Path, tmp_path: Path) -> None:
    check_targets(base, replace(LORA, lora_targets=["to_q", "transformer_blocks.1.ff.net.2"]))
    concepts = {name: ConceptParams(instance_prompt=f"a photo of {name}") for name in ("zwa", "ZWA")}
    with pytest.raises(ValueError, match="are the same to the base"):
        check_prompts(base, concepts, "a photo")
    # If one of them tells the prompts apart, the base does.
    length = copied(base, tmp_path / "base") / "tokenizer_2" / "tokenizer_config.json"
    same = {name: ConceptParams(instance_prompt="a" * 10 + end) for name, end in (("x", "x"), ("y", "y"))}
    changed(tmp_path / "base", "tokenizer/tokenizer_config.json", model_max_length=8)
    check_prompts(tmp_path / "base", same, None)
    length.write_text(json.dumps(json.loads(length.read_text()) | {"model_max_length": 8}))
    with pytest.raises(ValueError, match="reads 8 tokens"):
        check_prompts(tmp_path / "base", same, None)


@pytest.mark.parametrize("trains_text", [False, True])
def test_full_generator_has_the_bases_files_but_for_what_learned(base: Path, tmp_path: Path, trains_text: bool) -> None:
    tuned = tune_and_save(base, tmp_path / "rare", replace(KNOBS, train_text_encoder=trains_text))
    before, after = contents(base), contents(tmp_path / "rare")
    names = {name for name, content in after.items() if content != before.get(name) and name.endswith(".safetensors")}
    learned = ["text_encoder", "text_encoder_2", "unet"] if trains_text else ["unet"]
    assert set(before) == set(after) and sorted(Path(name).parts[0] for name in names) == learned
    plain = StableDiffusionXLPipeline.from_pretrained(tmp_path / "rare")
    for part in PARTS:
        found = getattr(plain, part).state_dict()
        assert all(torch.equal(value, found[name]) for name, value in getattr(tuned, part).state_dict().items())
    assert np.array_equal(draw(load_generator(tmp_path / "rare", base, CPU)), draw(tuned))


@pytest.mark.parametrize("file", [LORA_WEIGHTS, KOHYA_WEIGHTS])
@pytest.mark.parametrize("lora_alpha", [None, 8.0])
@pytest.mark.parametrize("has_text", [False, True], ids=["unet", "unet and text encoders"])
def test_plain_diffusers_draws_from_either_lora_file_what_the_tuned_pipeline_draws(
    base: Path, tmp_path: Path, file: str, lora_alpha: float | None, has_text: bool
) -> None:
    knobs = replace(LORA, train_text_encoder=has_text, lora_alpha=lora_alpha)
    tuned = tune_and_save(base, tmp_path / "rare", knobs)
    plain = StableDiffusionXLPipeline.from_pretrained(base)
    plain.load_lora_weights(tmp_path / "rare", weight_name=file)
    share_prompts(plain.unet)
    assert len(adapters_of(plain)) == len(adapters_of(tuned))
    assert np.abs(draw(plain).astype(int) - draw(tuned)).max() <= 1
    assert np.abs(draw(plain).astype(int) - draw(load_pipeline(base, CPU))).max() > 1
    merged = load_generator(tmp_path / "rare", base, CPU)
    assert not any("lora" in name for part in PARTS for name, _ in getattr(merged, part).named_modules())
    assert np.abs(draw(merged).astype(int) - draw(tuned)).max() <= 1


def test_names_in_the_lora_files_are_those_of_sdxl(base: Path, tmp_path: Path) -> None:
    tune_and_save(base, tmp_path / "rare", replace(LORA, train_text_encoder=True))
    attention = "mid_block.attentions.0.transformer_blocks.1.attn2.to_out.0"
    layer = "text_model.encoder.layers.1.self_attn.q_proj"
    named, kohya = load_file(tmp_path / "rare" / LORA_WEIGHTS), load_file(tmp_path / "rare" / KOHYA_WEIGHTS)
    assert f"unet.{attention}.lora.up.weight" in named
    for part in ("text_encoder", "text_encoder_2"):
        assert f"{part}.{layer}.lora_linear_layer.down.weight" in named
    stems = [f"lora_unet_{attention}", f"lora_te1_{layer}", f"lora_te2_{layer}"]
    for stem in (stem.replace(".", "_") for stem in stems):
        assert kohya[f"{stem}.lora_down.weight"].shape[0] == kohya[f"{stem}.lora_up.weight"].shape[1] == LORA.lora_rank
        assert float(kohya[f"{stem}.alpha"]) == LORA.lora_rank
    assert all(name.startswith(("lora_unet_", "lora_te1_text_model_", "lora_te2_text_model_")) for name in kohya)
    with safe_open(tmp_path / "rare" / KOHYA_WEIGHTS, "pt") as file:
        assert file.metadata()["ss_base_model_version"] == "sdxl_base_v1-0" and "ss_v2" not in file.metadata()


def build_xl_shaped() -> StableDiffusionXLPipeline:
    """The block structure of SDXL, three levels of two layers, with few channels and one transformer block."""
    pipeline = build_small_xl()
    torch.manual_seed(0)
    pipeline.register_modules(
        unet=UNet2DConditionModel(
            sample_size=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(32, 32, 64),
            layers_per_block=2,
            transformer_layers_per_block=(1, 1, 2),
            norm_num_groups=8,
            cross_attention_dim=sum(XL_WIDTHS),
            attention_head_dim=8,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=SIZE_WIDTH,
            projection_class_embeddings_input_dim=XL_POOLED + 6 * SIZE_WIDTH,
        ),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(16, 16, 32, 32),
            layers_per_block=2,
            norm_num_groups=8,
            sample_size=64,
            scaling_factor=0.13025,
        ),
    )
    return pipeline


IN_OPEN_CLIP = {
    r"text_model\.encoder\.layers\.": "transformer.resblocks.",
    r"layer_norm(?=\d)": "ln_",
    r"mlp\.fc1": "mlp.c_fc",
    r"mlp\.fc2": "mlp.c_proj",
    r"self_attn\.": "attn.",
    r"text_model\.embeddings\.position_embedding\.weight": "positional_embedding",
    r"text_model\.embeddings\.": "",
    r"text_model\.final_layer_norm": "ln_final",
    r"text_projection\.weight": "text_projection",
}


def original_weights(pipeline: StableDiffusionXLPipeline) -> dict[str, torch.Tensor]:
    """All weights under the names of SDXL's single file; its second text encoder is OpenCLIP's."""
    weights = {}
    for name, tensor in pipeline.unet.state_dict().items():
        name = re.sub(r"add_embedding\.linear_([12])", lambda found: f"label_emb.0.{2 * int(found[1]) - 2}", name)
        name = original_unet_name(name).replace("output_blocks.2.1.conv", "output_blocks.2.2.conv")  # after attention
        weights[f"model.diffusion_model.{name}"] = tensor
    for name, tensor in pipeline.vae.state_dict().items():
        is_attention = "attentions" in name and tensor.ndim == 2
        weights[f"first_stage_model.{original_vae_name(name)}"] = tensor[..., None, None] if is_attention else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        weights[f"conditioner.embedders.0.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    second = pipeline.text_encoder_2.state_dict()
    for name, tensor in second.items():
        kind = name.rsplit(".", 1)[1]
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([second[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
            name = name.replace(f"q_proj.{kind}", f"in_proj_{kind}")
        for pattern, original in IN_OPEN_CLIP.items():
            name = re.sub(pattern, original, name)
        weights[f"conditioner.embedders.1.model.{name}"] = tensor.T if name == "text_projection" else tensor
    return {name: tensor.clone().contiguous() for name, tensor in weights.items()}


def write_single_file(pipeline: StableDiffusionXLPipeline, folder: Path) -> tuple[Path, Path]:
    """A single file, and the folder of its configs."""
    file, config_dir = folder / "model.safetensors", folder / "config"
    save_pipeline(pipeline, config_dir)
    save_file(original_weights(pipeline), file)
    for weights in config_dir.rglob("*.safetensors"):
        weights.unlink()
    return file, config_dir


def test_single_file_gives_the_same_pipeline(tmp_path: Path) -> None:
    pipeline = build_xl_shaped()
    file, config_dir = write_single_file(pipeline, tmp_path)
    check_source(str(file), config_dir)
    loaded = load_checkpoint(file, config_dir)
    for part in PARTS:
        wanted, found = (getattr(one, part).state_dict() for one in (pipeline, loaded))
        assert set(found) == set(wanted)
        assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items()), part
    assert loaded.tokenizer_2.pad_token == "!" and loaded.vae.config.scaling_factor == 0.13025
    save_pipeline(loaded, tmp_path / "saved")
    load_pipeline(tmp_path / "saved", CPU)


def test_single_file_without_some_weights_is_refused(tmp_path: Path) -> None:
    file, config_dir = write_single_file(build_xl_shaped(), tmp_path)
    weights = load_file(file)
    weights.pop("conditioner.embedders.1.model.ln_final.bias")
    save_file(weights, file)
    with pytest.raises(ValueError, match=r"text_encoder_2 lacks 1 weights, such as text_model\.final_layer_norm\.bias"):
        load_checkpoint(file, config_dir)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "a single file needs a local folder of configs"),
        (REFUSED["refiner's class"][0], "such as SDXL's refiner"),
        (REFUSED["inpainting UNet"][0], "not a checkpoint of the model that .* describes|takes 9 channels"),
    ],
)
def test_single_file_with_configs_of_another_model_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    file, config_dir = write_single_file(build_xl_shaped(), tmp_path)
    spoil(config_dir)
    with pytest.raises(ValueError, match=message):
        check_source(str(file), config_dir)
        load_checkpoint(file, config_dir)
