"""DICOM files as grey or RGB values from 0 to 1, as a viewer would show them: rescaled, windowed, white as white."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdaug.photos.formats import UnreadablePhotoError

# What pydicom lets through for damaged files and for transfer syntaxes without a decoder.
DICOM_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError),
    *(OSError, RuntimeError, TypeError, ValueError, struct.error),
)
WAY_OUT = (
    "decompress it (`gdcmconv --raw`, `dcmdjpeg`) or install a decoder that pydicom finds, such as python-gdcm for "
    "lossless JPEG"
)


def read_dicom(content: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Grey `(H, W)` or RGB `(H, W, 3)` values of the only frame.

    Values go through the modality LUT (or slope and intercept) and the first VOI LUT or window; without one, the
    range that the stored bits span is that from black to white. MONOCHROME1, where low is white, is turned.

    Raises:
        UnreadablePhotoError: pydicom is missing, or the file is damaged, compressed in a way without a decoder, too
            large, or of several frames.
    """
    try:
        import pydicom
    except ImportError as error:
        raise UnreadablePhotoError("DICOM needs pydicom; install sdaug[formats]") from error
    # Faults of the text fields beside the pixels are nobody's business here.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        _check_frame(dataset, max_pixels)
        return _shown(dataset)
    except UnreadablePhotoError:
        raise
    except DICOM_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        unable = "; " + WAY_OUT if "decompress" in reason or "decode" in reason else ""
        raise UnreadablePhotoError(f"DICOM: {reason}{unable}") from error


def _check_frame(dataset: Any, max_pixels: int) -> None:
    if "PixelData" not in dataset:
        kind = (
            "floating-point pixels" if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset else "no pixels"
        )
        raise UnreadablePhotoError(f"DICOM: {kind}; need an image with stored integer values")
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames != 1:
        raise UnreadablePhotoError(f"DICOM: {num_frames} frames, need one; save each as a file of its own")
    if int(dataset.Rows) * int(dataset.Columns) > max_pixels:
        raise UnreadablePhotoError(
            f"DICOM: {dataset.Columns} x {dataset.Rows} pixels, need at most {max_pixels / 1e6:.0f} million; scale the "
            "image down"
        )


def _shown(dataset: Any) -> NDArray[np.uint8]:
    """8-bit values as shown."""
    from pydicom import pixels

    values = pixels.pixel_array(dataset)  # RGB from YBR
    kind = dataset.PhotometricInterpretation
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        shown = _grey(dataset, values)
        return _to_bytes(1 - shown if kind == "MONOCHROME1" else shown)
    if kind == "PALETTE COLOR":
        colours = pixels.apply_color_lut(values, dataset)[..., :3]
        return _to_bytes(colours / (2 ** (colours.itemsize * 8) - 1))
    if values.ndim != 3 or values.shape[2] != 3:
        raise UnreadablePhotoError(f"DICOM: {kind} is not read; save it as RGB or MONOCHROME2")
    return _to_bytes(values / (2 ** int(dataset.BitsStored) - 1))


def _grey(dataset: Any, values: NDArray[Any]) -> NDArray[np.float64]:
    """Values from 0 to 1, not yet turned.

    Not pydicom's presentation LUT: it does not turn MONOCHROME1.
    """
    from pydicom import pixels

    rescaled = pixels.apply_modality_lut(values, dataset)
    shown = pixels.apply_voi_lut(rescaled, dataset, index=0)
    low, high = _range(dataset)
    return np.asarray((shown.astype(np.float64) - low) / (high - low))


def _range(dataset: Any) -> tuple[float, float]:
    """Black and white after both LUTs."""
    # The table of a VOI LUT wins over a window, as in pydicom; its entries have as many bits as it says.
    if dataset.get("VOILUTSequence"):
        return 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if dataset.get("ModalityLUTSequence"):
        return 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(dataset.BitsStored)
    is_signed = bool(dataset.PixelRepresentation)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    # As in pydicom, a window is spread over the range of the stored bits.
    ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if is_signed else [0, 2**bits - 1]
    low, high = (end * slope + intercept for end in ends)
    if low > high and not dataset.get("WindowWidth"):
        low, high = high, low  # a negative slope turns values, not the scale
    return low, high


def _to_bytes(shown: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(shown, 0, 1) * 255), np.uint8)
