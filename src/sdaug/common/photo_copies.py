"""Copies of a photo among others: saved again, resized, brightened, cut at the edge, mirrored or turned.

Perceptual hashes find candidates. Photos of one subject look alike, above all small ones, so a candidate is accused
only if its detail agrees, once the detail that all photos share is taken away. Different photos of the phantom have
hashes as near as copies have (4 of 64 bits), but their detail agrees less than that of copies (docs/log-2026-11.md).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, TypeVar

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from sdaug.common.files import csv_text, write_text
from sdaug.common.sections import Checked, require
from sdaug.common.tables import read_table

Images = NDArray[np.uint8]
Pixel = TypeVar("Pixel", np.uint8, np.float32)
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LOOK_PIXELS = 128  # width to which larger images are reduced first
SIZE_PIXELS = 48  # at which images are compared: enough for detail, and no photo is smaller than 32
# Between fine grain, which saving again changes, and light and outline, which all photos of a subject share.
FINE_PIXELS, COARSE_PIXELS = 0.7, 3.0
# How a copy has been turned, in the order of `views_of`: four quarter turns, each also mirrored.
VIEWS = ("", "turned left", "upside down", "turned right", "mirrored", *(f"mirrored and turned {n}" for n in (1, 2, 3)))
CELLS_AT_ONCE = 2**18  # pairs of hashes that fit into a processor's cache: bounds the memory for many photos
PAIRS_AT_ONCE = 4096
COPIES = "copies.csv"


class Copy(NamedTuple):
    """Two images that show the same: their places in the two sets, bits that differ of 64, correlation of detail.

    `view` is how the second one has to be turned, a place in VIEWS.
    """

    first: int
    second: int
    distance: int
    correlation: float
    view: int

    def __str__(self) -> str:
        return describe_copy(self.distance, self.correlation, self.view)


@dataclass(frozen=True, kw_only=True)
class PhotoCopy(Checked):
    """A row of `copies.csv`: two photos of a study that show the same, by id."""

    first: str
    second: str
    distance: int
    correlation: float
    view: int

    def __post_init__(self) -> None:
        require(0 <= self.view < len(VIEWS), "view", self.view, f"need 0 to {len(VIEWS) - 1}")

    def __str__(self) -> str:
        return describe_copy(self.distance, self.correlation, self.view)

    @property
    def is_mirrored(self) -> bool:
        """Whether one is the other with left and right exchanged."""
        return VIEWS[self.view] == "mirrored"


def describe_copy(distance: int, correlation: float, view: int) -> str:
    """Two copies in words."""
    turned = f", {VIEWS[view]}" if view else ""
    return f"the same picture{turned} (hash distance {distance}, correlation of detail {correlation:.2f})"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What images are compared by: hashes of their views `(8, N)`, of 64 bits, and detail `(N, size, size)`."""

    hashes: Hashes
    detail: Floats


def look_at(images: Images) -> Look:
    """Hashes and detail of images `(N, H, W, 3)`."""
    return join_looks([look_at_one(Image.fromarray(image)) for image in images])


def look_at_one(image: Image.Image) -> Look:
    """Hashes and detail of the square in the middle of one image of any size, as a set of one."""
    gray = image.convert("L")
    # Eight hashes of 512 pixels would take most of the time.
    size = min(LOOK_PIXELS, *gray.size)
    square = ImageOps.fit(gray, (size, size), method=Image.Resampling.LANCZOS)
    bits = [imagehash.phash(Image.fromarray(view)).hash.ravel() for view in views_of(np.asarray(square))]
    return Look(hashes=np.packbits(bits, axis=1).view(np.uint64), detail=detail_of(square)[None])


def join_looks(looks: Sequence[Look]) -> Look:
    """The look of several sets as one set."""
    return Look(
        hashes=np.concatenate([look.hashes for look in looks], axis=1),
        detail=np.concatenate([look.detail for look in looks]),
    )


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
        pairs = _near_hashes(first.hashes[0], second.hashes[view], hash_distance, is_once=first is second)
        for i, j, distances in pairs:
            correlations = np.einsum("nd,nd->n", own[i], others[j])
            for n in np.flatnonzero(correlations >= copy_correlation):
                copy = Copy(int(i[n]), int(j[n]), int(distances[n]), float(correlations[n]), view)
                pair = (copy.first, copy.second)
                found[pair] = max(found.get(pair, copy), copy, key=lambda copy: copy.correlation)
    return [found[pair] for pair in sorted(found)]


def shared_detail(look: Look) -> Floats:
    """The mean of the images' detail, each of equal weight: the outline of the subject, or a camera's fixed scene.

    Unlike principal components, a mean cannot take up what only two copies share.
    """
    mean: Floats = _unit(look.detail).mean(axis=0).reshape(look.detail.shape[1:])
    return mean


def _near_hashes(
    first: Hashes, second: Hashes, limit: int, *, is_once: bool
) -> Iterator[tuple[Ints, Ints, NDArray[np.uint8]]]:
    """Pairs of `(M,)` and `(N,)` that differ in at most `limit` bits, and in how many, part by part.

    With `is_once`, for hashes of the same images, each pair stands once, and no image beside itself.
    """
    num_rows = max(1, CELLS_AT_ONCE // max(1, len(second)))
    for start in range(0, len(first), num_rows):
        offset = start if is_once else 0
        distances = np.bitwise_count(first[start : start + num_rows, None] ^ second[None, offset:])
        i, j = np.nonzero(np.triu(distances <= limit, 1) if is_once else distances <= limit)
        for part in range(0, len(i), PAIRS_AT_ONCE):
            some = slice(part, part + PAIRS_AT_ONCE)
            yield start + i[some], offset + j[some], distances[i[some], j[some]]


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


def write_copies(folder: Path, copies: Iterable[PhotoCopy]) -> None:
    """Write the copies among the photos of a prepared folder; there may be none."""
    header = ",".join(field.name for field in fields(PhotoCopy))
    rows = sorted(map(asdict, copies), key=lambda row: (row["first"], row["second"]))
    write_text(folder / COPIES, csv_text(rows) if rows else f"{header}\n")


def read_copies(folder: Path) -> list[PhotoCopy]:
    """The copies among the photos of a prepared folder.

    Raises:
        FileNotFoundError: the folder has no such table.
        ValueError: the table is damaged.
    """
    path = folder / COPIES
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro prepare`")
    return read_table(path, PhotoCopy)
