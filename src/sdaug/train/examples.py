"""What a classifier learns from: images, their classes, which are synthetic, and photos reconstructed by a VAE."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.classify.inference import as_pixels
from sdaug.common.device import to_device
from sdaug.common.packed import RECONSTRUCTED, Packed, reconstructed_id

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
NOT_RECONSTRUCTED = -1


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Images `(N, H, W, 3)` with class indices `(N,)`, and whether each is synthetic `(N,)`.

    `reconstructed` `(R, H, W, 3)` are photos as a VAE returns them. They are no images of their own: they only stand in
    for their photos. `reconstructed_rows` `(N,)` has the index of each image there, or `NOT_RECONSTRUCTED`.
    """

    images: Images
    labels: Labels
    is_synthetic: NDArray[np.bool_]
    reconstructed: Images
    reconstructed_rows: Labels

    def __post_init__(self) -> None:
        N, _, _, _ = self.images.shape
        assert N == len(self.labels) == len(self.is_synthetic) == len(self.reconstructed_rows)

    def __len__(self) -> int:
        return len(self.labels)


def photos_alone(images: Images, labels: Labels) -> TrainingSet:
    """A training set of photos `(N, H, W, 3)` alone."""
    N = len(labels)
    return TrainingSet(
        images=images,
        labels=labels,
        is_synthetic=np.zeros(N, np.bool_),
        reconstructed=images[:0],
        reconstructed_rows=np.full(N, NOT_RECONSTRUCTED, np.int64),
    )


def packed_training(data: Packed, draw: int | None) -> TrainingSet:
    """The training images of a packed data set, with the synthetic images of one draw and the reconstructed photos."""
    (images, labels), (reconstructed, _) = data.part("train", draw), data.part(RECONSTRUCTED)
    places = {data.ids[row]: place for place, row in enumerate(data.rows(RECONSTRUCTED))}
    rows = data.rows("train", draw)
    return TrainingSet(
        images=images,
        labels=labels,
        is_synthetic=data.origins[rows] == "synthetic",
        reconstructed=reconstructed,
        reconstructed_rows=np.array(
            [places.get(reconstructed_id(data.ids[row]), NOT_RECONSTRUCTED) for row in rows], dtype=np.int64
        ),
    )


class BatchReader:
    """Reads the images of batches to the device."""

    def __init__(self, training: TrainingSet, device: torch.device) -> None:
        self.training, self._device = training, device
        # On a GPU all images are resident; on a CPU they stay in the file, and each batch is read when needed.
        self._resident = as_pixels(training.images, device) if device.type != "cpu" else None
        self._reconstructed = as_pixels(training.reconstructed, device) if device.type != "cpu" else None
        self._targets = torch.from_numpy(training.labels).to(device)

    def read(self, chosen: torch.Tensor, is_soft: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The pixels `(B, 3, H, W)` and labels `(B,)` of the chosen images; those that are soft `(B,)` reconstructed.

        An image that has not been reconstructed is read as it is.
        """
        if self._resident is None:
            pixels, targets = as_pixels(self.training.images[chosen.numpy()], self._device), self._targets[chosen]
        else:
            there = to_device(chosen, self._device)
            pixels, targets = self._resident[there], self._targets[there]
        if is_soft is not None:
            self._soften(pixels, chosen, is_soft)
        return pixels, targets

    def _soften(self, pixels: torch.Tensor, chosen: torch.Tensor, is_soft: torch.Tensor) -> None:
        rows = torch.from_numpy(self.training.reconstructed_rows)[chosen]
        # Positions are found on the CPU: a mask on a GPU would make the host wait.
        places = torch.nonzero(is_soft & (rows != NOT_RECONSTRUCTED)).flatten()
        if len(places) == 0:
            return
        if self._reconstructed is None:
            reconstructed = as_pixels(self.training.reconstructed[rows[places].numpy()], self._device)
        else:
            reconstructed = self._reconstructed[to_device(rows[places], self._device)]
        pixels[to_device(places, self._device)] = reconstructed
