"""The denoising loss against its textbook formulas."""

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from sdaug.diffusion.conditioning import Conditioning
from sdaug.diffusion.denoising import denoising_loss, denoising_target
from sdaug.diffusion.latents import Latents

LATENTS = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
PROMPTS = Conditioning(tokens=torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(2)))


def scheduler(kind: str) -> DDIMScheduler:
    return DDIMScheduler(prediction_type=kind, beta_schedule="scaled_linear")


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=8,
            norm_num_groups=8,
        ).eval()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_loss_is_the_textbook_step(unet: UNet2DConditionModel, kind: str) -> None:
    noise_schedule, stream = scheduler(kind), torch.Generator().manual_seed(3)
    noise = torch.randn(LATENTS.shape, generator=stream)
    t = torch.randint(1000, (3,), generator=stream)
    a = noise_schedule.alphas_cumprod[t].view(3, 1, 1, 1)
    with torch.no_grad():
        predicted = unet(a.sqrt() * LATENTS + (1 - a).sqrt() * noise, t, encoder_hidden_states=PROMPTS.tokens).sample
        loss = denoising_loss(unet, noise_schedule, LATENTS, PROMPTS, torch.Generator().manual_seed(3))
    target = noise if kind == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * LATENTS
    torch.testing.assert_close(loss, (predicted - target).square().mean(dim=(1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_loss_depends_on_the_prompt(unet: UNet2DConditionModel) -> None:
    with torch.no_grad():
        first, second = (
            denoising_loss(unet, scheduler("epsilon"), LATENTS, prompts, torch.Generator().manual_seed(3))
            for prompts in (PROMPTS, Conditioning(tokens=-PROMPTS.tokens))
        )
    assert not torch.equal(first, second)


def test_other_kind_of_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="predicts 'sample'; supported: epsilon and v_prediction"):
        denoising_target(scheduler("sample"), LATENTS, LATENTS, torch.zeros(3, dtype=torch.long))


def test_latents_without_spread_are_their_mean() -> None:
    latents = Latents(mean=LATENTS, std=torch.zeros_like(LATENTS))
    assert torch.equal(latents.draw(torch.tensor([2, 0]), torch.Generator()), LATENTS[[2, 0]])


def test_spread_is_that_of_drawn_latents() -> None:
    stream = torch.Generator().manual_seed(0)
    latents = Latents(mean=torch.randn(400, 4, 4, 4, generator=stream), std=torch.full((400, 4, 4, 4), 0.5))
    assert float(latents.draw(torch.arange(400), stream).std()) == pytest.approx(latents.spread(), rel=0.02)


def test_scaling_by_the_spread_gives_a_unit_spread() -> None:
    latents = Latents(mean=3.0 * LATENTS, std=torch.full_like(LATENTS, 0.5))
    assert latents.scaled(1.0 / latents.spread()).spread() == pytest.approx(1.0)
