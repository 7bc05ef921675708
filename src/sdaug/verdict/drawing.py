"""What all pictures of the report share: the palette, tidy axes, legends, and files that hold no metadata."""

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DPI = 100
PALETTE_COLOURS = 256

# Okabe and Ito's palette, safe for colour-blind readers, with a marker each for black-and-white print.
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
DASHES = ("-", "--", ":", "-.")  # the next one each time the colours start over


def styles_of(count: int) -> list[tuple[str, str, str]]:
    """A colour, marker and dash pattern for each of `count` things; when colours repeat, the others differ."""
    turns = (divmod(d, len(STYLES)) for d in range(count))
    return [
        (STYLES[place][0], STYLES[(place + turn) % len(STYLES)][1], DASHES[turn % len(DASHES)]) for turn, place in turns
    ]


def in_legend(name: str) -> str:
    """The name as a label that a legend shows: matplotlib hides those that start with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


def add_legend(figure: Figure, axes: Axes) -> None:
    """Add one legend for all panels above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False)


def tidy(axes: Axes, *, grid_axis: str = "y") -> None:
    """No frame at the top and on the right, and a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis=grid_axis, color="#dddddd", linewidth=0.8)  # type: ignore[arg-type]


def label_rotation(labels: Sequence[str], *, fits: int = 40) -> float:
    """Degrees by which to rotate tick labels: 90 if they would overlap."""
    return 90 if sum(width_of(label) + 1 for label in labels) > fits else 0


def width_of(label: str) -> int:
    """The width in letters, of which those of Chinese, Japanese and Korean count as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in label)


def save(figure: Figure, path: Path, *, dpi: int = DPI) -> None:
    """Write with a palette, in a third of the bytes; no metadata, such as matplotlib's version, changes them."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=dpi, format="png")
    write_palette(Image.open(stream).convert("RGB"), path, colours=PALETTE_COLOURS)


def write_palette(image: Image.Image, target: Path | io.BytesIO, *, colours: int) -> None:
    """Write an RGB image as a PNG of so many colours, without dithering, whose dots could pass for texture."""
    flat = image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat.save(target, format="PNG", optimize=True)
