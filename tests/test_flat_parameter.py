"""Training a flat parameter gives the same weights as training separate tensors."""

import copy
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from small import build_small
from torch import nn

from sdaug.common.cpu_speed import FlatParameter
from sdaug.diffusion.pipelines import save_part
from sdaug.diffusion.sampling import draw_previews


def learn(unet: UNet2DConditionModel, *, is_flat: bool, num_steps: int = 3) -> None:
    """Train for a few AdamW steps with gradient clipping."""
    weights = list(unet.requires_grad_(True).parameters())
    flat = FlatParameter(weights) if is_flat else None
    weights = [flat.tensor] if flat else weights
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.1, fused=True)
    images = torch.randn(2, unet.config.in_channels, 4, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(num_steps):
        prompts = torch.ones(1, 3, unet.config.cross_attention_dim)
        unet(images, 500, encoder_hidden_states=prompts).sample.square().mean().backward()
        if flat:
            flat.gather_gradients()
        nn.utils.clip_grad_norm_(weights, 0.1)
        optimizer.step()
        optimizer.zero_grad()


def smallest_unet() -> UNet2DConditionModel:
    return build_small().unet.to(memory_format=torch.channels_last)


def test_flat_weights_learn_the_same() -> None:
    plain = smallest_unet()
    flat = copy.deepcopy(plain)
    learn(plain, is_flat=False)
    learn(flat, is_flat=True)
    for (name, weight), other in zip(plain.named_parameters(), flat.parameters(), strict=True):
        assert weight.stride() == other.stride(), name
        torch.testing.assert_close(other, weight, rtol=1e-4, atol=1e-5)


def test_weights_stay_views_when_images_are_drawn() -> None:
    pipeline = build_small()
    flat = FlatParameter(list(pipeline.unet.to(memory_format=torch.channels_last).parameters()))
    draw_previews(pipeline, "a photo", 1, size_pixels=16)
    with torch.no_grad():
        flat.tensor.zero_()
    assert all(weight.abs().sum() == 0 for weight in pipeline.unet.parameters())


def test_weights_without_a_gradient_count_as_zeros() -> None:
    used, unused = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))
    flat = FlatParameter([used, unused])
    used.sum().backward()
    flat.gather_gradients()
    assert flat.tensor.grad is not None and flat.tensor.grad.tolist() == [1.0] * 6 + [0.0] * 4
    assert used.grad is None


def test_flat_weights_are_saved_in_the_same_bytes(tmp_path: Path) -> None:
    unet = smallest_unet()
    save_part(unet, tmp_path / "before")
    FlatParameter(list(unet.parameters()))
    save_part(unet, tmp_path / "after")
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()
