"""Copies of a photo among others: saved again, resized, brightened, cut at the edge, mirrored or turned.

Perceptual hashes find candidates. Photos of one subject look alike, above all small ones, so a candidate is accused
only if its detail agrees, once the detail that all photos share is taken away. Different photos of the phantom have
hashes as near as copies have (4 of 64 bits), but their detail agrees less than that of copies (LOG.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Images = NDArray[np.uint8]
Pixel = TypeVar("Pixel", np.uint8, np.float32)
Floats = NDArray[np.float32]

LOOK_PIXELS = 128  # width to which larger images are reduced first
SIZE_PIXELS = 48  # at which images are compared: enough for detail, and no photo is smaller than 32
# Between fine grain, which saving again changes, and light and outline, which all photos of a subject share.
FINE_PIXELS, COARSE_PIXELS = 0.7, 3.0
NUM_VIEWS = 8  # four quarter turns, each also mirrored
ROWS_AT_ONCE = 1024  # bounds the memory for many photos


class Copy(NamedTuple):
    """Two images that show the same: their places in the two sets, bits that differ of 64, correlation of detail."""

    first: int
    second: int
    distance: int
    correlation: float

    def __str__(self) -> str:
        return f"the same picture (hash distance {self.distance}, correlation of detail {self.correlation:.2f})"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What images are compared by: hashes of their views `(8, N, 64)`, zeros and ones, and detail `(N, size, size)`."""

    hashes: Floats
    detail: Floats


def look_at(images: Images) -> Look:
    """Hashes and detail of images `(N, H, W, 3)`."""
    grays = [_at_most(Image.fromarray(image).convert("L"), LOOK_PIXELS) for image in images]
    views = [[Image.fromarray(view) for view in views_of(np.asarray(gray))] for gray in grays]
    hashes = [[imagehash.phash(view).hash.ravel() for view in of_image] for of_image in views]
    return Look(
        hashes=np.array(hashes, dtype=np.float32).transpose(1, 0, 2),
        detail=np.stack([detail_of(gray) for gray in grays]),
    )


def _at_most(gray: Image.Image, size_pixels: int) -> Image.Image:
    """A square image, made smaller if it is larger: eight hashes of 512 pixels would take most of the time."""
    is_small = gray.width <= size_pixels
    return gray if is_small else gray.resize((size_pixels, size_pixels), Image.Resampling.LANCZOS)


def views_of(pixels: NDArray[Pixel]) -> Iterator[NDArray[Pixel]]:
    """The eight ways to turn and mirror `(..., H, W)`, as it is first."""
    for mirrored in (pixels, pixels[..., ::-1]):
        for turns in range(4):
            yield np.ascontiguousarray(np.rot90(mirrored, turns, axes=(-2, -1)))


def detail_of(gray: Image.Image) -> Floats:
    """Detail of middling size `(size, size)`: neither grain nor light."""
    small = gray.resize((SIZE_PIXELS, SIZE_PIXELS), Image.Resampling.LANCZOS)
    pixels = np.asarray(small, dtype=np.float32)
    detail: Floats = ndimage.gaussian_filter(pixels, FINE_PIXELS) - ndimage.gaussian_filter(pixels, COARSE_PIXELS)
    return detail


def find_copies(
    first: Look, second: Look, *, shared: Floats, hash_distance: int, copy_correlation: float
) -> list[Copy]:
    """The copies of images of one set in the other, each pair once; pairs within one set if both are the same.

    Args:
        shared: detail `(size, size)` that all photos have, see `shared_detail`.
    """
    found: dict[tuple[int, int], Copy] = {}
    own = _standard(first.detail, shared)
    for view, detail in enumerate(views_of(second.detail)):
        others = _standard(detail, shared)
        for i, j, distance in _near_hashes(first.hashes[0], second.hashes[view], hash_distance):
            correlation = float(own[i] @ others[j])
            if (first is not second or i < j) and correlation >= copy_correlation:
                copy = Copy(i, j, distance, correlation)
                found[i, j] = max(copy, found.get((i, j), copy), key=lambda copy: copy.correlation)
    return [found[pair] for pair in sorted(found)]


def shared_detail(look: Look) -> Floats:
    """The mean of the images' detail, each of equal weight: the outline of the subject, or a camera's fixed scene.

    Unlike principal components, a mean cannot take up what only two copies share.
    """
    mean: Floats = _unit(look.detail).mean(axis=0).reshape(look.detail.shape[1:])
    return mean


def _near_hashes(first: Floats, second: Floats, limit: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of rows of `(M, 64)` and `(N, 64)` that differ in at most `limit` bits, and in how many."""
    for start in range(0, len(first), ROWS_AT_ONCE):
        rows = first[start : start + ROWS_AT_ONCE]
        distances = np.rint(rows @ (1 - second.T) + (1 - rows) @ second.T).astype(int)
        for i, j in np.argwhere(distances <= limit):
            yield start + int(i), int(j), int(distances[i, j])


def _standard(detail: Floats, shared: Floats) -> Floats:
    """Detail `(N, size, size)` as rows `(N, size * size)` of length 1, without what all photos share."""
    rows: Floats = _unit(_unit(detail).reshape(detail.shape) - shared)
    return rows


def _unit(detail: Floats) -> Floats:
    rows = detail.reshape(len(detail), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # A blank image has no detail, and so correlates with none.
    unit: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1.0e-3)
    return unit


def find_exact(images: Images) -> list[tuple[int, int]]:
    """Pairs of images `(N, H, W, 3)` with the same pixels; each later one with the first."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(image.tobytes(), index), index) for index, image in enumerate(images)]
    return [(one, other) for one, other in pairs if one != other]
