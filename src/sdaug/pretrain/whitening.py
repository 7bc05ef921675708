"""Whitening the latent space of a VAE after its training."""

import torch
from diffusers import AutoencoderKL

from sdaug.diffusion.latents import Latents


@torch.no_grad()
def whiten_latents(vae: AutoencoderKL, latents: Latents) -> None:
    """Whiten the latent space by PCA: each principal component gets mean 0 and variance 1.

    After a short training the latent channels share one dominant component; the details that the decoder needs have
    a hundredth of its variance, so a UNet trained with squared error ignores them. The transform is folded into the
    1x1 convolutions on both sides of the latents, so reconstructions do not change. The posterior variance becomes one
    constant per channel, its mean over `latents`.
    """
    # Principal axes of drawn latents: covariance of the means plus the mean variance of the posteriors.
    num_channels = latents.mean.shape[1]
    values = latents.mean.double().movedim(1, -1).reshape(-1, num_channels)
    noise = latents.std.double().square().mean(dim=(0, 2, 3))
    center = values.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov(values.T, correction=0) + noise.diag())
    forward = (axes / variances.sqrt()).T
    backward = axes * variances.sqrt()

    # Fold the map into the encoder's last convolution: first the means, then the log-variances.
    before, after = vae.quant_conv, vae.post_quant_conv
    mean_rows = before.weight[:num_channels, :, 0, 0].double()
    before.weight[:num_channels, :, 0, 0] = (forward @ mean_rows).float()
    before.bias[:num_channels] = (forward @ (before.bias[:num_channels].double() - center)).float()
    before.weight[num_channels:] = 0.0
    before.bias[num_channels:] = (forward.square() @ noise).log().float()
    # Fold its inverse into the decoder's first convolution.
    columns = after.weight[:, :, 0, 0].double()
    after.weight[:, :, 0, 0] = (columns @ backward).float()
    after.bias += (columns @ center).float()
