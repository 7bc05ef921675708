"""Small images for the page, which holds them as data URIs and so needs no file beside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sdaug.common.seeding import numpy_stream
from sdaug.verdict.drawing import write_palette

THUMBNAIL_PIXELS = 72
COLOURS = 128  # of a thumbnail's palette: half the bytes, and no difference to see at this size
GALLERY_IMAGES = 8  # per class and kind


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """One class's training photos and generated images as data URIs, a random few of each."""

    label: str
    photos: tuple[str, ...]
    generated: tuple[str, ...]


def data_uri(path: Path) -> str:
    """A PNG file as a data URI."""
    return _encode(path.read_bytes())


def thumbnail(path: Path) -> str:
    """An image, no larger than THUMBNAIL_PIXELS, as the data URI of a PNG."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    write_palette(small, stream, colours=COLOURS)
    return _encode(stream.getvalue())


def pick_images(paths: Sequence[Path], label: str, kind: str, *, count: int) -> list[Path]:
    """At most `count` random images of one class, always the same ones."""
    order = numpy_stream(0, "report", label, kind).permutation(len(paths))[:count]
    return [paths[i] for i in order]


def build_galleries(photos: Mapping[str, Sequence[Path]], generated: Mapping[str, Sequence[Path]]) -> list[Gallery]:
    """The gallery of each class."""

    def small(paths: Sequence[Path], label: str, kind: str) -> tuple[str, ...]:
        return tuple(map(thumbnail, pick_images(paths, label, kind, count=GALLERY_IMAGES)))

    return [
        Gallery(
            label=label,
            photos=small(photos[label], label, "photos"),
            generated=small(generated.get(label, ()), label, "generated"),
        )
        for label in photos
    ]


def _encode(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
