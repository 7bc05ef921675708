"""Classifier inference: normalised batches from uint8 images, and class probabilities."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from sdaug.classify.models import ModelCard
from sdaug.common.precision import autocast

EVALUATION_BATCH_SIZE = 64


def as_pixels(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Images `(B, H, W, 3)` as a uint8 tensor `(B, 3, H, W)` on `device`."""
    # A copy, since the array may be a read-only mapped file. As uint8 it has a quarter of float32's bytes.
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2)


def to_batch(images: torch.Tensor, card: ModelCard) -> torch.Tensor:
    """Images `(B, 3, H, W)` in [0, 1], resized and normalised: `(B, 3, size, size)`, channels last in memory."""
    if images.shape[-1] != card.image_size:
        size = (card.image_size, card.image_size)
        images = F.interpolate(images.contiguous(), size=size, mode="bilinear", antialias=True, align_corners=False)
    mean, std = (_by_channel(tuple(values), images.device) for values in (card.mean, card.std))
    # Channels last: a step of the custom network takes 103 to 107 ms, not 127 to 145 (benchmarks/classify.py).
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


@cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """`(1, C, 1, 1)`, copied to the device only once."""
    return torch.tensor(values, device=device).view(1, -1, 1, 1)


@torch.no_grad()
def predict(
    model: nn.Module, images: NDArray[np.uint8], card: ModelCard, *, dtype: torch.dtype = torch.float32
) -> NDArray[np.float64]:
    """Class probabilities `(N, K)` of images `(N, H, W, 3)`; the model's training mode is restored."""
    device = next(model.parameters()).device
    # Per module, because the batch norms of a frozen backbone are never in training mode.
    was_training = [(module, module.training) for module in model.modules()]
    model.eval()
    parts = []
    for start in range(0, len(images), EVALUATION_BATCH_SIZE):
        pixels = as_pixels(images[start : start + EVALUATION_BATCH_SIZE], device)
        with autocast(device, dtype):
            logits = model(to_batch(pixels.float().div(255.0), card))
        parts.append(logits.double().softmax(dim=1))
    for module, mode in was_training:
        module.training = mode
    return torch.cat(parts).cpu().numpy()
