"""Decoding one photo file of any common format and mode to square RGB pixels."""

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sdaug.common.params import Square
from sdaug.photos.colour import to_srgb
from sdaug.photos.depth import is_deep, narrow
from sdaug.photos.dicom import read_dicom
from sdaug.photos.formats import FORMATS, NAMES, TIFF_STARTS, UnreadablePhotoError, is_dicom, is_heif

MIN_SIDE_PIXELS = 16
# Pillow's own limit, 89 million, is below that of today's cameras and of panoramas. Beyond it, a file has to be as
# large as a photo is: flat pixels of a bomb take as little as 0.008 bits each, those of heavily compressed photos 0.16.
FREE_PIXELS, MAX_PIXELS, MAX_PIXELS_PER_BYTE = 89_478_485, 500_000_000, 50

# Exceptions that Pillow's decoders let through for damaged files, besides its own errors.
DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, MemoryError),
    *(
        RuntimeError,
        OverflowError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ),
)
# Tags of TIFF.
EXTRA_SAMPLES, NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE = 338, 254, 255
COMPRESSION, PHOTOMETRIC, UNCOMPRESSED, YCBCR = 259, 262, 1, 6
REDUCED, MASK, OLD_REDUCED = 1, 4, 2


class Opened(NamedTuple):
    """A photo in RGB and in full size.

    `sixteen_bit_peak` is the largest 16-bit value if neither the file nor a setting says which number is white;
    `has_broken_profile` says that a colour profile could not be used.
    """

    image: Image.Image
    sixteen_bit_peak: int | None = None
    has_broken_profile: bool = False


def decode_photo(
    content: bytes, *, size_pixels: int, square: Square, sixteen_bit_maximum: int | None = None
) -> NDArray[np.uint8]:
    """The first image in a file, EXIF-rotated, in sRGB, `(H, W, 3)` with H = W = `size_pixels`.

    Raises:
        UnreadablePhotoError: as `open_photo`.
    """
    opened = open_photo(content, sixteen_bit_maximum=sixteen_bit_maximum)
    return to_square(opened.image, size_pixels=size_pixels, square=square)


def open_photo(content: bytes, *, sixteen_bit_maximum: int | None = None) -> Opened:
    """The only image in a file (of an animation the first), EXIF-rotated, in sRGB and in full size.

    Raises:
        UnreadablePhotoError: the file is empty, damaged, of another format, of several pages, too small or too large.
    """
    if not content:
        raise UnreadablePhotoError("empty file")
    if is_dicom(content):
        opened = Opened(Image.fromarray(read_dicom(content, max_pixels=MAX_PIXELS)).convert("RGB"))
    else:
        opened = _open_image(content, sixteen_bit_maximum)
    width, height = opened.image.size
    if min(width, height) < MIN_SIDE_PIXELS:
        raise UnreadablePhotoError(f"{width} x {height} pixels, need at least {MIN_SIDE_PIXELS} on each side")
    return opened


def to_square(image: Image.Image, *, size_pixels: int, square: Square) -> NDArray[np.uint8]:
    """An image in RGB as square pixels `(H, W, 3)` with H = W = `size_pixels`."""
    size, method = (size_pixels, size_pixels), Image.Resampling.LANCZOS
    if square == "crop":
        return np.asarray(ImageOps.fit(image, size, method=method))
    if square == "pad":
        return np.asarray(ImageOps.pad(image, size, method=method, color=_edge_colour(image)))
    return np.asarray(image.resize(size, method))


def _open_image(content: bytes, sixteen_bit_maximum: int | None) -> Opened:
    # The limit below takes its place; Pillow has one for the whole process only, and always this number is set.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    formats: tuple[str, ...] = FORMATS
    if is_heif(content):
        _add_heif()
        formats = ("HEIF",)
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            _seek_only_page(image)
            _check_size(image, len(content))
            return _read(image, content, sixteen_bit_maximum)
    except UnidentifiedImageError as error:
        raise UnreadablePhotoError(_unidentified(content)) from error
    except UnreadablePhotoError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadablePhotoError(" ".join(str(error).split()) or type(error).__name__) from error


def _read(image: Image.Image, content: bytes, sixteen_bit_maximum: int | None) -> Opened:
    profile, tags = image.info.get("icc_profile"), getattr(image, "tag_v2", {})
    if image.mode == "F":
        raise UnreadablePhotoError("floating-point pixels have no fixed range; save the photo with 8 or 16 bits")
    # Pillow 12 reads four bytes per pixel where there are three.
    if image.format == "TIFF" and (tags.get(PHOTOMETRIC), tags.get(COMPRESSION)) == (YCBCR, UNCOMPRESSED):
        raise UnreadablePhotoError("TIFF with uncompressed YCbCr; save it as RGB")
    peak = None
    if is_deep(image):
        upright, peak = narrow(image, content, sixteen_bit_maximum=sixteen_bit_maximum)
    else:
        image.load()  # open() reads only the header; a truncated file fails here
        upright = ImageOps.exif_transpose(image)
    # A further band can be anything, such as near infrared; Pillow takes it for opacity.
    if image.format == "TIFF" and upright.mode == "RGBA" and tags.get(EXTRA_SAMPLES, (0,))[0] not in (1, 2):
        upright = Image.merge("RGB", upright.split()[:3])
    rgb, is_usable = to_srgb(upright, profile)
    return Opened(rgb, peak, not is_usable)


def _add_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise UnreadablePhotoError("HEIC needs pillow-heif; install sdaug[formats]") from error
    pillow_heif.register_heif_opener()


def _check_size(image: Image.Image, num_bytes: int) -> None:
    num_pixels = image.width * image.height
    size = f"{image.width} x {image.height} pixels"
    if num_pixels > MAX_PIXELS:
        raise UnreadablePhotoError(f"{size}, need at most {MAX_PIXELS // 10**6} million; scale the photo down")
    if num_pixels > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * num_bytes):
        raise UnreadablePhotoError(
            f"{size} in {num_bytes} bytes could be a decompression bomb; scale the photo below "
            f"{FREE_PIXELS // 10**6} million pixels"
        )


def _seek_only_page(image: Image.Image) -> None:
    """Go to the only page of a TIFF; smaller copies and masks are no pages."""
    if image.format != "TIFF":
        return
    tags, pages = getattr(image, "tag_v2", {}), []
    for place in range(getattr(image, "n_frames", 1)):
        image.seek(place)
        tags = getattr(image, "tag_v2", {})
        is_copy = tags.get(NEW_SUBFILE_TYPE, 0) & (REDUCED | MASK) or tags.get(OLD_SUBFILE_TYPE) == OLD_REDUCED
        pages += [place] * (not is_copy)
    if len(pages) > 1:
        raise UnreadablePhotoError(f"TIFF of {len(pages)} pages, need one; save each as a file of its own")
    image.seek(pages[0] if pages else 0)


def _unidentified(content: bytes) -> str:
    if content.startswith(TIFF_STARTS):
        return "damaged TIFF, or one whose bands or bits are not read; save it as grey or RGB with 8 or 16 bits"
    return f"not a {NAMES} image"


def _edge_colour(image: Image.Image) -> tuple[int, ...]:
    """The median colour of the border pixels."""
    pixels = np.asarray(image)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(channel) for channel in np.median(edges, axis=0))
