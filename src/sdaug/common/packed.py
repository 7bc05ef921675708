"""A packed data set: one memory-mapped pixel array and a table with one row per image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdaug.common.files import RESTORE, read_csv, write_csv
from sdaug.common.images import read_png

IMAGES, EXAMPLES = "images.npy", "examples.csv"
COLUMNS = ("id", "group", "label", "origin", "part", "draw")
# The part of photos as the base's VAE returns them: they only stand in for photos of the training part.
RECONSTRUCTED: Final = "reconstructed"


def reconstructed_id(photo_id: str) -> str:
    """The id of a photo that is reconstructed."""
    return f"reconstructed-{photo_id}"


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Images `(N, H, W, 3)` with their ids, groups, class indices, origins (such as real) and parts (such as train).

    `in_draw` has the draw of a synthetic image, and nothing for other images.
    """

    images: NDArray[np.uint8]
    ids: list[str]
    groups: list[str]
    labels: NDArray[np.int64]
    origins: NDArray[np.str_]
    parts: NDArray[np.str_]
    in_draw: NDArray[np.str_]

    def __post_init__(self) -> None:
        N, _, _, _ = self.images.shape
        assert N == len(self.ids) == len(self.groups) == len(self.labels) == len(self.origins)
        assert N == len(self.parts) == len(self.in_draw)

    @property
    def draws(self) -> list[int]:
        """The draws of generators that the synthetic images are from, sorted."""
        return sorted({int(draw) for draw in self.in_draw if draw})

    def rows(self, name: str, draw: int | None = None) -> NDArray[np.int64]:
        """The indices of one part's images, with the synthetic images of one draw."""
        is_chosen = (self.in_draw == "") | (self.in_draw == ("" if draw is None else str(draw)))
        return np.flatnonzero(is_chosen & (self.parts == name))

    def part(self, name: str, draw: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images and labels of one part; the images stay memory-mapped if they are contiguous in the file."""
        chosen = self.rows(name, draw)
        # A slice keeps the file mapped; an array of indices copies the part into memory.
        if len(chosen) and chosen[-1] - chosen[0] == len(chosen) - 1:
            rows = slice(chosen[0], chosen[-1] + 1)
            return self.images[rows], self.labels[rows]
        return self.images[chosen], self.labels[chosen]


def write_packed(out_dir: Path, paths: Sequence[Path], rows: Sequence[dict[str, str]]) -> None:
    """Decode images of one size into a single array, next to the table `rows` (id, group, label, origin, part, draw).

    Raises:
        ValueError: there are no images, or their sizes differ.
    """
    if not paths:
        raise ValueError(f"{out_dir}: no images to pack")
    # The first image sets the size. The array is a mapped file, so memory need not hold all images.
    first = read_png(paths[0])
    array = np.lib.format.open_memmap(out_dir / IMAGES, mode="w+", dtype=np.uint8, shape=(len(paths), *first.shape))
    for index, path in enumerate(paths):
        pixels = read_png(path)
        if pixels.shape != first.shape:
            raise ValueError(
                f"{path}: {pixels.shape[1]}x{pixels.shape[0]} pixels, but {paths[0]} has "
                f"{first.shape[1]}x{first.shape[0]}; all must have one size; run `dvc repro synthesize`"
            )
        array[index] = pixels
    array.flush()
    write_csv(out_dir / EXAMPLES, rows)


def read_packed(folder: Path, classes: Sequence[str]) -> Packed:
    """Open a packed data set; pixels are memory-mapped and read on access.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: a file is damaged, they do not fit each other, or a label is not in `classes`.
    """
    rows = read_csv(folder / EXAMPLES, columns=COLUMNS)
    unknown = sorted({row["label"] for row in rows} - set(classes))
    if unknown:
        raise ValueError(
            f"{folder / EXAMPLES}: class {unknown[0]!r} is not in params.yaml: classes; run `dvc repro split`"
        )
    wrong = [row["draw"] for row in rows if row["draw"] and not re.fullmatch(r"\d+", row["draw"], re.ASCII)]
    if wrong:
        raise ValueError(f"{folder / EXAMPLES}: draw {wrong[0]!r}: not a whole number; {RESTORE}")
    index = {label: number for number, label in enumerate(classes)}
    return Packed(
        images=_open_images(folder / IMAGES, num_rows=len(rows)),
        ids=[row["id"] for row in rows],
        groups=[row["group"] for row in rows],
        labels=np.array([index[row["label"]] for row in rows], dtype=np.int64),
        origins=np.array([row["origin"] for row in rows]),
        parts=np.array([row["part"] for row in rows]),
        in_draw=np.array([row["draw"] for row in rows]),
    )


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """The images `(N, H, W, 3)` of a packed data set alone, without labels, ids or groups.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or has no images.
    """
    return _open_images(path, num_rows=None)


def _open_images(path: Path, *, num_rows: int | None) -> NDArray[np.uint8]:
    try:
        images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy parses the header as Python, and raises what that may raise
        raise ValueError(f"{path}: damaged ({' '.join(str(error).split())[:200]}); {RESTORE}") from error
    shape: tuple[int, ...] = getattr(images, "shape", ())  # an archive of arrays has none
    is_whole = len(shape) == 4 and num_rows in (None, shape[0])
    if not is_whole or shape[-1] != 3 or images.dtype != np.uint8:
        kind = f"{getattr(images, 'dtype', 'no array')} of shape {shape}"
        wanted = "(N, H, W, 3)" if num_rows is None else f"({num_rows}, H, W, 3), as {EXAMPLES} has it"
        raise ValueError(f"{path}: {kind}, need uint8 of shape {wanted}; {RESTORE}")
    return images
