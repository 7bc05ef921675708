"""Sharing one prompt among images gives the same results as repeating it for each image."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from small import NETWORK, build_small
from torch.testing import assert_close

from sdaug.diffusion.attention import SharedPrompts, share_prompts

NUM_IMAGES, NUM_PROMPTS = 6, 2


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return build_small().unet


def run(unet: UNet2DConditionModel, prompts: torch.Tensor) -> torch.Tensor:
    stream = torch.Generator().manual_seed(0)
    config = unet.config
    noisy = torch.randn(NUM_IMAGES, config.in_channels, config.sample_size, config.sample_size, generator=stream)
    return unet(noisy, torch.tensor(500), encoder_hidden_states=prompts).sample


def test_shared_prompts_give_the_images_and_gradients_of_repeated_ones(unet: UNet2DConditionModel) -> None:
    plain = copy.deepcopy(unet)
    plain.set_attn_processor(AttnProcessor2_0())
    prompts = torch.randn(NUM_PROMPTS, 5, NETWORK.text_width, generator=torch.Generator().manual_seed(1))
    prompts.requires_grad_(True)
    repeated = prompts.detach().repeat_interleave(NUM_IMAGES // NUM_PROMPTS, dim=0).requires_grad_(True)

    shared_result, plain_result = run(unet, prompts), run(plain, repeated)
    shared_result.square().sum().backward()
    plain_result.square().sum().backward()

    assert_close(shared_result, plain_result)
    assert plain_result.std() > 0
    assert_close(prompts.grad, repeated.grad.unflatten(0, (NUM_PROMPTS, -1)).sum(dim=1))
    for (name, shared), (_, alone) in zip(unet.named_parameters(), plain.named_parameters(), strict=True):
        assert_close(shared.grad, alone.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_prompts_matter(unet: UNet2DConditionModel) -> None:
    prompts = torch.randn(NUM_PROMPTS, 5, NETWORK.text_width, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(run(unet, prompts), run(unet, prompts.flip(0)))


def test_every_cross_attention_shares(unet: UNet2DConditionModel) -> None:
    kinds = {name: type(processor) for name, processor in unet.attn_processors.items()}
    assert {name for name, kind in kinds.items() if kind is SharedPrompts} == {n for n in kinds if ".attn2." in n}
    share_prompts(unet)  # idempotent


def test_another_kind_of_attention_is_refused(unet: UNet2DConditionModel) -> None:
    class Other(AttnProcessor2_0):
        """An unknown attention processor."""

    unet.set_attn_processor(Other())
    with pytest.raises(ValueError, match="attn2 is Other, not the cross-attention of"):
        share_prompts(unet)
