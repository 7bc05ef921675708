"""What a classifier learns from: images, their classes, which of them are synthetic, and the photos' softened twins."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.classify.inference import as_pixels
from sdaug.common.device import to_device
from sdaug.common.packed import TWIN, Packed, twin_id

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
NO_TWIN = -1


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Images `(N, H, W, 3)` with class indices `(N,)`, and whether each is synthetic `(N,)`.

    `twins` `(T, H, W, 3)` are reconstructions of photos by a VAE. They are no images of their own: they only stand in
    for their photos. `twin_rows` `(N,)` has the index of each image's twin, or `NO_TWIN`.
    """

    images: Images
    labels: Labels
    is_synthetic: NDArray[np.bool_]
    twins: Images
    twin_rows: Labels

    def __post_init__(self) -> None:
        N, _, _, _ = self.images.shape
        assert N == len(self.labels) == len(self.is_synthetic) == len(self.twin_rows)

    def __len__(self) -> int:
        return len(self.labels)


def photos_alone(images: Images, labels: Labels) -> TrainingSet:
    """A training set of photos `(N, H, W, 3)` without twins."""
    N = len(labels)
    return TrainingSet(
        images=images,
        labels=labels,
        is_synthetic=np.zeros(N, np.bool_),
        twins=images[:0],
        twin_rows=np.full(N, NO_TWIN, np.int64),
    )


def packed_training(data: Packed, draw: int | None) -> TrainingSet:
    """The training images of a packed data set, with the synthetic images of one draw and the twins of the photos."""
    (images, labels), (twins, _) = data.part("train", draw), data.part(TWIN)
    rows, places = data.rows("train", draw), {data.ids[row]: place for place, row in enumerate(data.rows(TWIN))}
    return TrainingSet(
        images=images,
        labels=labels,
        is_synthetic=data.origins[rows] == "synthetic",
        twins=twins,
        twin_rows=np.array([places.get(twin_id(data.ids[row]), NO_TWIN) for row in rows], dtype=np.int64),
    )


class BatchReader:
    """Reads the images of batches to the device."""

    def __init__(self, training: TrainingSet, device: torch.device) -> None:
        self.training, self._device = training, device
        # On a GPU all images are resident; on a CPU they stay in the file, and each batch is read when needed.
        self._resident = as_pixels(training.images, device) if device.type != "cpu" else None
        self._twins = as_pixels(training.twins, device) if device.type != "cpu" else None
        self._targets = torch.from_numpy(training.labels).to(device)

    def read(self, chosen: torch.Tensor, is_soft: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The pixels `(B, 3, H, W)` and labels `(B,)` of the chosen images; those that are soft `(B,)` as their twins.

        An image without a twin is read as it is.
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
        rows = torch.from_numpy(self.training.twin_rows)[chosen]
        # Positions are found on the CPU: a mask on a GPU would make the host wait.
        places = torch.nonzero(is_soft & (rows != NO_TWIN)).flatten()
        if len(places) == 0:
            return
        if self._twins is None:
            twins = as_pixels(self.training.twins[rows[places].numpy()], self._device)
        else:
            twins = self._twins[to_device(rows[places], self._device)]
        pixels[to_device(places, self._device)] = twins
