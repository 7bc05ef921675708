"""Decoding one photo file of any common format and mode to square RGB pixels."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sdaug.common.params import Square

# An explicit list, so that a disguised file cannot reach decoders that run other programs (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
MIN_SIDE_PIXELS = 16

# Exceptions that Pillow's decoders let through for damaged files, besides its own errors.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class UnreadablePhotoError(ValueError):
    """A file that holds no usable photo; the message is the reason, on one line."""


def decode_photo(content: bytes, *, size_pixels: int, square: Square) -> NDArray[np.uint8]:
    """The first image in a file, EXIF-rotated, `(H, W, 3)` with H = W = `size_pixels`; colour profiles are ignored.

    Raises:
        UnreadablePhotoError: the file is empty, damaged, of another format, too small or too large.
    """
    return to_square(open_photo(content), size_pixels=size_pixels, square=square)


def open_photo(content: bytes) -> Image.Image:
    """The first image in a file, EXIF-rotated, in RGB and in full size; colour profiles are ignored.

    Raises:
        UnreadablePhotoError: the file is empty, damaged, of another format, too small or too large.
    """
    if not content:
        raise UnreadablePhotoError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()  # open() reads only the header; a truncated file fails here
            upright = ImageOps.exif_transpose(image)
            if min(upright.size) < MIN_SIDE_PIXELS:
                width, height = upright.size
                raise UnreadablePhotoError(f"{width} x {height} pixels, need at least {MIN_SIDE_PIXELS} on each side")
            return _to_rgb(upright)
    except UnidentifiedImageError as error:
        raise UnreadablePhotoError("not a JPEG, PNG, WebP, TIFF or BMP image") from error
    except UnreadablePhotoError:
        raise
    except (*DECODER_ERRORS, *BOMBS) as error:
        raise UnreadablePhotoError(" ".join(str(error).split()) or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_narrow(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        raise UnreadablePhotoError("floating-point pixels have no fixed range; save the photo with 8 or 16 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # Converted to RGB alone, transparent pixels would show the colour stored under them.
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _narrow(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """16-bit grey scaled to 8 bits; Pillow's own conversion clips at 255, which turns such photos white."""
    if values.min() < 0 or values.max() > 65535:
        raise UnreadablePhotoError("pixel values exceed 16 bits; save the photo with 8 or 16 bits")
    return np.rint(values / 257).astype(np.uint8)  # 65535 / 255


def to_square(image: Image.Image, *, size_pixels: int, square: Square) -> NDArray[np.uint8]:
    """An image in RGB as square pixels `(H, W, 3)` with H = W = `size_pixels`."""
    size, method = (size_pixels, size_pixels), Image.Resampling.LANCZOS
    if square == "crop":
        return np.asarray(ImageOps.fit(image, size, method=method))
    if square == "pad":
        return np.asarray(ImageOps.pad(image, size, method=method, color=_edge_colour(image)))
    return np.asarray(image.resize(size, method))


def _edge_colour(image: Image.Image) -> tuple[int, ...]:
    """The median colour of the border pixels."""
    pixels = np.asarray(image)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(channel) for channel in np.median(edges, axis=0))
