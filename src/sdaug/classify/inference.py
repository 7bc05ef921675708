"""From uint8 images to normalised batches, and from a model to probabilities."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from sdaug.classify.models import ModelCard

EVALUATION_BATCH_SIZE = 64


def to_batch(images: NDArray[np.uint8], card: ModelCard, device: torch.device) -> torch.Tensor:
    """`(B, H, W, 3)` uint8 as normalised `(B, 3, size, size)` float32, channels last in memory."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float().div(255.0)
    if pixels.shape[-1] != card.image_size:
        size = (card.image_size, card.image_size)
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
    mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(model: nn.Module, images: NDArray[np.uint8], card: ModelCard) -> NDArray[np.float64]:
    """Class probabilities `(N, K)` of `(N, H, W, 3)` images."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts = [
        model(to_batch(images[start : start + EVALUATION_BATCH_SIZE], card, device)).double().softmax(dim=1).cpu()
        for start in range(0, len(images), EVALUATION_BATCH_SIZE)
    ]
    model.train(was_training)
    return torch.cat(parts).numpy()
