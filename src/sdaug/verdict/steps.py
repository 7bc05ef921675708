"""The picture of each step from a photo to a generated image, from the examples that stage `fidelity` keeps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdaug.common import images
from sdaug.common.files import read_csv
from sdaug.verdict.fonts import Font, pillow_font
from sdaug.verdict.number_formats import plural

FILE, TABLE = "steps.png", "steps.csv"
CAPTION = (
    "From photo to generated image, for each class with a generator: training photos, the same as the base's VAE "
    "returns them (a limit to how sharp generated images can be), what the base draws from the class prompt, and what "
    "DreamBooth makes of the same noise and its own prompt. The images are the first of the first draw, not chosen."
)
# Title and subtitle of each column.
TITLES = (
    ("photo", "training set"),
    ("reconstructed", "by the base's VAE"),
    ("base", "class prompt"),
    ("DreamBooth", "same noise, own prompt"),
)

# In pixels at a tile of 96; other tiles scale all of it. The page and README.md show the picture at about two thirds of
# its size, so that it is sharp on fine screens, too.
TILE, LARGEST_TILE = 96, 128
TILE_GAP, COLUMN_GAP, PAIR_GAP, ROW_GAP = 4, 20, 52, 20  # photos and drawings are two pairs of columns
MARGIN, LABEL_GAP, HEAD = 24, 32, 84
TITLE, SUBTITLE, LINE_GAP = 28, 22, 8  # sizes of letters
INK, SOFT = "#1d2329", "#5a646d"


@dataclass(frozen=True, kw_only=True)
class Example:
    """The files of one example: a photo, and an unrelated image."""

    photo: Path
    reconstructed: Path
    base: Path
    dreambooth: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """In the order of the columns."""
        return self.photo, self.reconstructed, self.base, self.dreambooth


def read_examples(
    folder: Path, *, classes: Sequence[str], synthetic: Mapping[str, Path], photos: Mapping[str, Path]
) -> dict[str, list[Example]]:
    """The examples of each class that has any; photos and synthetic images are looked up by their ids.

    Raises:
        FileNotFoundError: there is no table of examples.
        ValueError: a photo, an image or a class is not one of this study.
    """
    path = folder / TABLE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro fidelity`")

    def look_up(known: Mapping[str, Path], image_id: str) -> Path:
        if image_id not in known:
            raise ValueError(f"{path}: image {image_id}: no such file in this study; run `dvc repro fidelity`")
        return known[image_id]

    found: dict[str, list[Example]] = {label: [] for label in classes}
    for row in read_csv(path, columns=("label", "photo", "reconstructed", "base", "synthetic")):
        if row["label"] not in found:
            raise ValueError(f"{path}: label {row['label']}: not one of {', '.join(classes)}; run `dvc repro fidelity`")
        example = Example(
            photo=look_up(photos, row["photo"]),
            reconstructed=folder / row["reconstructed"],
            base=folder / row["base"],
            dreambooth=look_up(synthetic, row["synthetic"]),
        )
        found[row["label"]].append(example)
    return {label: examples for label, examples in found.items() if examples}


def draw_steps(path: Path, examples: Mapping[str, Sequence[Example]], *, num_photos: Mapping[str, int]) -> None:
    """A row per class and a column per step, with the class's examples side by side in each."""
    tiles = {label: [list(map(images.read_png, example.files)) for example in examples[label]] for label in examples}
    names = {label: (label, plural(num_photos[label], "photo")) for label in examples}
    layout = Layout(
        tile=tile_pixels(len(next(iter(tiles.values()))[0][0])),
        num_examples=max(map(len, tiles.values())),
        names=tuple(names.values()),
    )
    sheet = Image.new("RGB", layout.size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(TITLES):
        _write(draw, (layout.left(column), layout.px(MARGIN)), title, layout)
    for row, label in enumerate(tiles):
        middle = layout.top(row) + (layout.tile - layout.px(TITLE + LINE_GAP + SUBTITLE)) // 2
        _write(draw, (layout.px(MARGIN), middle), names[label], layout)
        for place, example in enumerate(tiles[label]):
            for column, pixels in enumerate(example):
                sheet.paste(_enlarge(pixels, layout.tile), (layout.left(column, place), layout.top(row)))
    sheet.save(path, format="PNG", optimize=True)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand, in pixels; `names` are the labels of rows."""

    tile: int
    num_examples: int
    names: tuple[tuple[str, str], ...]

    def px(self, length: int) -> int:
        """A length at a tile of TILE pixels, for this tile."""
        return round(length * self.tile / TILE)

    def fonts(self, name: tuple[str, str]) -> tuple[Font, Font]:
        """Of a name and of the remark below it."""
        return pillow_font(name[0], self.px(TITLE)), pillow_font(name[1], self.px(SUBTITLE))

    @cached_property
    def column_width(self) -> int:
        """The width of a column: that of its examples, or of a title that is wider."""
        return max(self.num_examples * (self.tile + self.px(TILE_GAP)) - self.px(TILE_GAP), self._widest(TITLES))

    def left(self, column: int, place: int = 0) -> int:
        """The left edge of an example in a column."""
        first = self.px(MARGIN + LABEL_GAP) + self._widest(self.names)
        between_pairs = self.px(PAIR_GAP - COLUMN_GAP) if column >= 2 else 0
        beside = column * (self.column_width + self.px(COLUMN_GAP)) + between_pairs
        return first + beside + place * (self.tile + self.px(TILE_GAP))

    def _widest(self, names: Sequence[tuple[str, str]]) -> int:
        lengths = [font.getlength(line) for name in names for font, line in zip(self.fonts(name), name, strict=True)]
        return math.ceil(max(lengths))

    def top(self, row: int) -> int:
        return self.px(MARGIN + HEAD) + row * (self.tile + self.px(ROW_GAP))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        right, bottom = self.left(len(TITLES) - 1) + self.column_width, self.top(len(self.names) - 1) + self.tile
        return right + self.px(MARGIN), bottom + self.px(MARGIN)


def tile_pixels(size_pixels: int) -> int:
    """The size of a tile: small images are enlarged to a whole multiple, which keeps their pixels square."""
    return size_pixels * max(1, round(TILE / size_pixels)) if size_pixels <= LARGEST_TILE else LARGEST_TILE


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: tuple[str, str], layout: Layout) -> None:
    """A name in large letters and a remark below it in small grey ones."""
    large, small = layout.fonts(lines)
    draw.text(place, lines[0], fill=INK, font=large)
    draw.text((place[0], place[1] + layout.px(TITLE + LINE_GAP)), lines[1], fill=SOFT, font=small)


def _enlarge(pixels: NDArray[np.uint8], tile: int) -> Image.Image:
    if len(pixels) > tile:
        return Image.fromarray(images.resize(pixels, size_pixels=tile))
    return Image.fromarray(pixels).resize((tile, tile), Image.Resampling.NEAREST)
