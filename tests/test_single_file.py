"""Loading a base from a single .safetensors file with the weight names of the original Stable Diffusion."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from small import NETWORK, build_small

from sdaug.base.params import check_source
from sdaug.diffusion.layout import SCHEDULER
from sdaug.diffusion.pipelines import load_checkpoint, save_pipeline

Weights = Mapping[str, torch.Tensor]

IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
IN_VAE = {
    r"mid_block\.attentions\.0\.group_norm": "mid.attn_1.norm",
    r"mid_block\.attentions\.0\.to_out\.0": "mid.attn_1.proj_out",
    r"mid_block\.attentions\.0\.to_([qkv])": r"mid.attn_1.\1",
    r"mid_block\.resnets\.0": "mid.block_1",
    r"mid_block\.resnets\.1": "mid.block_2",
    r"down_blocks\.(\d)\.resnets": r"down.\1.block",
    r"down_blocks\.(\d)\.downsamplers\.0": r"down.\1.downsample",
    r"conv_norm_out": "norm_out",
    r"conv_shortcut": "nin_shortcut",
}


def build_sd_shaped() -> StableDiffusionPipeline:
    """The block structure of Stable Diffusion 1.x, four levels of two layers, with few channels."""
    pipeline = build_small(size_pixels=64)
    torch.manual_seed(0)
    pipeline.register_modules(
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 32, 64, 64),
            layers_per_block=2,
            norm_num_groups=8,
            cross_attention_dim=NETWORK.text_width,
            attention_head_dim=8,
        ),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(16, 16, 32, 32),
            layers_per_block=2,
            norm_num_groups=8,
            sample_size=64,
        ),
    )
    return pipeline


def original_unet_name(name: str) -> str:
    name = re.sub(r"(?<=resnets\.\d\.)(\w+)", lambda found: IN_RESNET.get(found[1], found[1]), name)
    name = re.sub(r"^mid_block\.resnets\.(\d)", lambda found: f"middle_block.{2 * int(found[1])}", name)
    name = re.sub(r"^mid_block\.attentions\.0", "middle_block.1", name)
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(?:conv\.)?(?=[\w.]+$)", name)
    if found:
        level, layer, tail = int(found[2]), int(found[4]), name[found.end() :]
        sampler = {"downsamplers": "0.op", "upsamplers": f"{1 if level == 0 else 2}.conv"}.get(found[3])
        place = sampler or ("0" if found[3] == "resnets" else "1")
        number = 3 * level + (2 if sampler else layer) + (found[1] == "down")
        return f"{'input' if found[1] == 'down' else 'output'}_blocks.{number}.{place}.{tail}"
    for end, original in UNET_ENDS.items():
        name = re.sub(rf"^{re.escape(end)}(?=\.)", original, name)
    return name


def original_vae_name(name: str) -> str:
    for pattern, original in IN_VAE.items():
        name = re.sub(pattern, original, name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{3 - int(found[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample", name)


def original_weights(pipeline: StableDiffusionPipeline) -> Weights:
    """All weights under their original names, where the VAE's attention layers are 1x1 convolutions."""
    weights = {
        f"model.diffusion_model.{original_unet_name(name)}": tensor
        for name, tensor in pipeline.unet.state_dict().items()
    }
    for name, tensor in pipeline.vae.state_dict().items():
        is_attention = "attentions" in name and tensor.ndim == 2
        weights[f"first_stage_model.{original_vae_name(name)}"] = tensor[..., None, None] if is_attention else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        weights[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    return {name: tensor.clone().contiguous() for name, tensor in weights.items()}


def test_single_file_gives_the_same_pipeline(tmp_path: Path) -> None:
    pipeline = build_sd_shaped()
    file, config_dir = tmp_path / "model.safetensors", tmp_path / "config"
    save_pipeline(pipeline, config_dir)
    save_file(dict(original_weights(pipeline)), file)
    for weights in config_dir.rglob("*.safetensors"):
        weights.unlink()
    check_source(str(file), config_dir)
    loaded = load_checkpoint(file, config_dir)
    for part in ("unet", "vae", "text_encoder"):
        wanted, found = (getattr(one, part).state_dict() for one in (pipeline, loaded))
        assert set(found) == set(wanted)
        assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items()), part
    # The scheduler is that of the configs.
    save_pipeline(loaded, tmp_path / "saved")
    assert (tmp_path / "saved" / SCHEDULER).read_bytes() == (config_dir / SCHEDULER).read_bytes()


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("down_blocks.1.resnets.0.conv1.weight", "input_blocks.4.0.in_layers.2.weight"),
        ("up_blocks.1.upsamplers.0.conv.bias", "output_blocks.5.2.conv.bias"),
        ("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"),
    ],
)
def test_original_names(name: str, original: str) -> None:
    assert original_unet_name(name) == original
