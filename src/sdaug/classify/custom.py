"""The custom classifier of the study: residual blocks, with self-attention at the lowest resolution."""

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        # No biases: the batch norms have their own.
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        is_same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if is_same else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` -> `(B, out, H/stride, W/stride)`."""
        y = F.relu(self.first_norm(self.first(x)))
        z: torch.Tensor = self.second_norm(self.second(y)) + self.shortcut(x)
        return F.relu(z)


class SelfAttention(nn.Module):
    """Residual multi-head self-attention over all positions (Vaswani et al., arXiv 1706.03762)."""

    def __init__(self, channels: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` -> the same shape."""
        B, C, H, W = x.shape
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        result: torch.Tensor = x + mixed.transpose(1, 2).reshape(B, C, H, W)
        return result


class CustomNetwork(nn.Module):
    """A classifier with a few hundred thousand parameters: `(B, 3, H, W)` -> logits `(B, K)`.

    Raises:
        ValueError: the width is below 16 or not a multiple of 8.
    """

    def __init__(self, num_classes: int, *, width: int = 24) -> None:
        super().__init__()
        if width < 16 or width % 8:
            # On AVX-512, torch 2.15 writes out of bounds in channels-last convolutions with 8 channels.
            raise ValueError(f"custom: width {width}; need a multiple of 8, 16 or more")
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(
            ResidualBlock(width, width, stride=2),
            ResidualBlock(width, 2 * width, stride=2),
            ResidualBlock(2 * width, 4 * width, stride=2),
            SelfAttention(4 * width),  # 36 tokens for a photo of 48 pixels; the cost grows with their square
            ResidualBlock(4 * width, 4 * width, stride=1),
        )
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits

    def get_classifier(self) -> nn.Module:
        """The classification layer; the method has the same name in timm's models."""
        return self.head
