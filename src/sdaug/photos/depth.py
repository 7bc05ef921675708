"""Pixels of more than 8 bits: what number is white, read in full and scaled to 8 bits."""

import io
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sdaug.photos.formats import UnreadablePhotoError

FULL = 65535
# Tags of TIFF.
BITS_PER_SAMPLE, PHOTOMETRIC, MAX_SAMPLE, PLANAR, SMAX_SAMPLE = 258, 262, 281, 284, 341
# The same 16 bits read with the other byte order: Pillow keeps the first byte of each, so this gives the low one.
OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}


class Deep(NamedTuple):
    """An image of 8 bits a band, and the largest of its 16-bit values if nothing said what number is white."""

    image: Image.Image
    peak: int | None


def is_deep(image: Image.Image) -> bool:
    """Whether pixels have more than 8 bits; call it before they are loaded.

    Raises:
        UnreadablePhotoError: these are in separate planes, whose two bytes Pillow takes for two pixels.
    """
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    bits = tags.get(BITS_PER_SAMPLE, (8,))
    if tags.get(PLANAR) == 2 and len(bits) > 1 and max(bits) > 8:
        raise UnreadablePhotoError("TIFF with 16 bits in separate planes; save it with the bands of a pixel together")
    return image.mode.startswith("I") or ";16" in _raw_mode(image)


def narrow(image: Image.Image, content: bytes, *, sixteen_bit_maximum: int | None) -> Deep:
    """An EXIF-rotated image with 8 bits a band from one with up to 16 that is not loaded yet.

    White is the number that the file states, else `sixteen_bit_maximum`, else 65535.

    Raises:
        UnreadablePhotoError: a value is negative or larger than white.
    """
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    stated, is_turned = _stated_by_tiff(tags), tags.get(PHOTOMETRIC) == 0
    transparent = image.info.get("transparency")
    values = _whole_values(image, content)
    low, peak = int(values.min()), int(values.max())
    if low < 0 or peak > FULL:
        raise UnreadablePhotoError("pixel values exceed 16 bits; save the photo with 8 or 16 bits")
    if image.format == "PNG":
        stated = _stated_by_png(content, values)
    if image.format == "JPEG2000":
        stated = FULL  # OpenJPEG moves the bits that the file states to the top
    white = stated or sixteen_bit_maximum or FULL
    if peak > white:
        source = "the file states" if stated else "prepare.sixteen_bit_maximum is"
        raise UnreadablePhotoError(f"a pixel value of {peak}, but {source} at most {white}; correct that number")
    scaled = np.rint((white - values.astype(np.float64) if is_turned else values) * (255 / white)).astype(np.uint8)
    if transparent is not None and values.ndim + (values.shape[-1] == 3) in (2, 4):
        is_seen = values != np.asarray(transparent)
        opacity = (is_seen if values.ndim == 2 else is_seen.any(axis=2)).astype(np.uint8) * 255
        scaled = np.dstack([scaled, opacity])
    return Deep(Image.fromarray(scaled), None if stated or sixteen_bit_maximum else peak)


def offer_maximum(peak: int) -> int:
    """The number that is white if `peak` is the largest of all values: 4095 for 3871."""
    return int(max(255, 2 ** peak.bit_length() - 1))


def _raw_mode(image: Image.Image) -> str:
    tiles: Any = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    return str(args[0] if isinstance(args, tuple) else args) if args else ""


def _whole_values(image: Image.Image, content: bytes) -> NDArray[Any]:
    """Values `(H, W)` or `(H, W, C)`, EXIF-rotated; the low bytes of colours are read a second time."""
    raw_mode = _raw_mode(image)
    if image.mode.startswith("I"):
        image.load()
        return np.asarray(ImageOps.exif_transpose(image))
    again = _open_again(image, content)
    if image.format == "PNG" and raw_mode == "LA;16B":  # two bytes of grey, two of opacity
        _set_raw_mode(again, "RGBA")
        values = np.asarray(ImageOps.exif_transpose(again)).astype(np.uint16)
        return values[..., 0::2] * 256 + values[..., 1::2]
    order = next(order for order in OTHER_ORDER if order in raw_mode)
    _set_raw_mode(again, raw_mode.replace(order, OTHER_ORDER[order]))
    high, low = (np.asarray(ImageOps.exif_transpose(half)).astype(np.uint16) for half in (image, again))
    return np.asarray(high * 256 + low)


def _open_again(image: Image.Image, content: bytes) -> Image.Image:
    assert image.format is not None
    again = Image.open(io.BytesIO(content), formats=(image.format,))
    if again.tell() != image.tell():
        again.seek(image.tell())
    return again


def _set_raw_mode(image: Any, raw_mode: str) -> None:
    def changed(args: Any) -> Any:
        return (raw_mode, *args[1:]) if isinstance(args, tuple) else raw_mode

    image.tile = [tile._replace(args=changed(tile.args)) for tile in image.tile]


def _stated_by_tiff(tags: Any) -> int | None:
    """White by the bits of a sample (12), or by a largest sample that is a power of two less one.

    Any other largest sample is that of this photo's own pixels, and says nothing about white.
    """
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    if 8 < bits < 16:
        # Pillow unpacks 12 bits as they are.
        return int(2**bits - 1)
    for tag in (MAX_SAMPLE, SMAX_SAMPLE):
        found = tags.get(tag)
        largest = max(found) if isinstance(found, tuple) else found
        if largest and largest == int(largest) and int(largest) in [2**b - 1 for b in range(9, 17)]:
            return int(largest)
    return None


def _stated_by_png(content: bytes, values: NDArray[Any]) -> int | None:
    """White by chunk sBIT, which counts the bits that carry meaning.

    By the standard, these are moved to the top of the 16; many cameras' programs leave them at the bottom.
    """
    bits = _significant_bits(content)
    if bits is None or not 8 <= bits <= 16:
        return None
    rest = 16 - bits
    top = values >> rest
    is_moved = ((top << rest) == values).all() or ((top << rest | top >> max(0, bits - rest)) == values).all()
    return FULL if is_moved or int(values.max()) >= 2**bits else int(2**bits - 1)


def _significant_bits(content: bytes) -> int | None:
    place = 8  # after the signature
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind == b"sBIT" and length:
            return max(content[place + 8 : place + 8 + length])
        if kind in (b"IDAT", b"IEND"):
            return None
        place += 12 + length
    return None
