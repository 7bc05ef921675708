"""Files of every kind with the pixels that a viewer shows, computed apart from the code that decodes them."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pillow_heif
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset

SIDE = 32


class Case(NamedTuple):
    content: bytes
    expected: NDArray[Any]  # (H, W) or (H, W, 3)
    tolerance: int = 0
    maximum: int | None = None  # prepare.sixteen_bit_maximum


def ramp(low: int = 0, high: int = 255) -> NDArray[np.int64]:
    """Grey rising from the left and from the top."""
    place = np.arange(SIDE)
    return np.rint(low + (high - low) * np.add.outer(place, place) / (2 * SIDE - 2)).astype(np.int64)


def colours() -> NDArray[np.uint8]:
    """Soft colours that differ in each band."""
    return np.dstack([ramp(20, 230), ramp(200, 40), np.fliplr(ramp(60, 180))]).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scaled(values: NDArray[Any], white: int) -> NDArray[Any]:
    return np.rint(np.asarray(values, float) / white * 255)


# PNG and TIFF, written here byte by byte, since no library writes all of them.


def png(values: NDArray[Any], *, kind: int, bits: int = 16, **chunks: bytes) -> bytes:
    """A PNG of `values` (H, W) or (H, W, C); `kind` is its colour type, `chunks` go before the pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    data = values.astype(">u2" if bits == 16 else ">u1").reshape(height, -1)
    lines = b"".join(b"\0" + line.tobytes() for line in data)
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def tiff(
    values: NDArray[Any], *, photometric: int, order: str = "<", tags: dict[int, Any] | None = None, data: bytes = b""
) -> bytes:
    """An uncompressed TIFF of one page in one strip; all tags are SHORT or LONG."""
    height, width = values.shape[:2]
    bands = values.shape[2] if values.ndim == 3 else 1
    bits = values.dtype.itemsize * 8
    data = data or values.astype(values.dtype.newbyteorder(order)).tobytes()
    entries: dict[int, Any] = {256: width, 257: height, 258: (bits,) * bands, 259: 1, 262: photometric, 273: 8}
    entries |= {277: bands, 278: height, 279: len(data)} | (tags or {})
    start, overflow, fields = 8 + len(data) + len(data) % 2, b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        letter, kind = ("I", 4) if tag in (256, 257, 273, 279) else ("H", 3)
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            packed, overflow = struct.pack(f"{order}I", after + len(overflow)), overflow + packed
        fields += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(entries)) + fields + bytes(4)
    return magic + struct.pack(f"{order}I", start) + data.ljust(start - 8, b"\0") + directory + overflow


def twelve_packed(values: NDArray[Any]) -> bytes:
    """Two values of 12 bits in three bytes."""
    first, second = values.reshape(-1, 2).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()


# Colour profiles, as ICC describes them, of a matrix and a gamma.

# Columns of primaries in XYZ, adapted to D50.
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def icc(matrix: NDArray[Any] | None, gamma: float) -> bytes:
    """A display profile (grey without a matrix)."""

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    xyz = [b"XYZ " + bytes(4) + fixed(*column) for column in ([] if matrix is None else matrix.T)]
    white = b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"a\0" + bytes(81)
    parts = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": white}
    if matrix is None:
        parts[b"kTRC"] = curve
    else:
        parts |= dict(zip([b"rXYZ", b"gXYZ", b"bXYZ"], xyz, strict=True))
        parts |= dict.fromkeys([b"rTRC", b"gTRC", b"bTRC"], curve)
    table, body, place = b"", b"", 128 + 4 + 12 * len(parts)
    for name, data in parts.items():
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if matrix is None else b"RGB "
    head = bytes(8) + struct.pack(">I", 0x02400000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249)
    whole = head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def shown_in_srgb(pixels: NDArray[Any], matrix: NDArray[Any], gamma: float) -> NDArray[Any]:
    """By the formulae of ICC and of IEC 61966-2-1, without a library."""
    return encoded((pixels / 255) ** gamma @ (np.linalg.inv(SRGB) @ matrix).T)


def encoded(linear: NDArray[Any]) -> NDArray[Any]:
    """Linear values as sRGB."""
    linear = np.clip(linear, 0, 1)
    return np.asarray(np.rint(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255))


def lab_in_srgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """By the formulae of CIE, from what Pillow calls LAB: 255 is L* = 100, a* and b* are signed bytes."""
    light, a, b = np.moveaxis(pixels.astype(float), 2, 0)
    a, b = (band.astype(np.uint8).view(np.int8).astype(float) for band in (a, b))
    y = (light / 255 * 100 + 16) / 116
    roots = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * [0.9642, 1, 0.8249]
    return encoded(xyz @ np.linalg.inv(SRGB).T)


# DICOM.


def dicom(
    values: NDArray[Any], *, bits: int, photometric: str = "MONOCHROME2", compress: Any = None, **tags: Any
) -> bytes:
    data, meta = Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta = meta
    data.Rows, data.Columns = values.shape[:2] if values.shape[0] == SIDE else values.shape[1:3]
    data.SamplesPerPixel = 3 if values.shape[-1] == 3 else 1
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = values.dtype.itemsize * 8, bits, bits - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    if compress:
        data.compress(compress)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def lut(entries: NDArray[Any], *, first: int, bits: int) -> Any:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries), first, bits])
    item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return pydicom.sequence.Sequence([item])


def windowed(values: NDArray[Any], centre: float, width: float, *, function: str = "LINEAR") -> NDArray[Any]:
    """By the formulae of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    values = np.asarray(values, float)
    if function == "SIGMOID":
        return np.rint(255 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return np.asarray(np.rint(np.clip((values - centre) / width + 0.5, 0, 1) * 255))


def heif(image: Image.Image, **options: Any) -> bytes:
    pillow_heif.register_heif_opener()
    return saved(image, "HEIF", quality=-1, chroma=444, matrix_coefficients=0, **options)


def _grey_cases() -> dict[str, Callable[[], Case]]:
    full, twelve, ten = ramp(0, 65535), ramp(0, 4095), ramp(0, 1023)
    moved, repeated = twelve << 4, twelve << 4 | twelve >> 8
    u2 = np.uint16
    cases: dict[str, Callable[[], Case]] = {
        "png grey 16": lambda: Case(png(full, kind=0), scaled(full, 65535)),
        "png grey 16, dark, setting 65535": lambda: Case(png(twelve, kind=0), scaled(twelve, 65535), 0, 65535),
        "png grey 12 in 16, setting": lambda: Case(png(twelve, kind=0), scaled(twelve, 4095), 0, 4095),
        "png grey 10 in 16, setting": lambda: Case(png(ten, kind=0), scaled(ten, 1023), 0, 1023),
        "png grey sBIT 12, low": lambda: Case(png(twelve, kind=0, sBIT=b"\x0c"), scaled(twelve, 4095)),
        "png grey sBIT 10, low": lambda: Case(png(ten, kind=0, sBIT=b"\x0a"), scaled(ten, 1023)),
        "png grey sBIT 12, moved": lambda: Case(png(moved, kind=0, sBIT=b"\x0c"), scaled(moved, 65535)),
        "png grey sBIT 12, repeated": lambda: Case(png(repeated, kind=0, sBIT=b"\x0c"), scaled(repeated, 65535)),
        "png grey sBIT wins over the setting": lambda: Case(
            png(twelve, kind=0, sBIT=b"\x0c"), scaled(twelve, 4095), 0, 1023
        ),
        "png rgb 16": lambda: Case(png(deep(65535), kind=2), scaled(deep(65535), 65535)),
        "png rgb 12 in 16, setting": lambda: Case(png(deep(4095), kind=2), scaled(deep(4095), 4095), 0, 4095),
        "png rgb sBIT 12": lambda: Case(png(deep(4095), kind=2, sBIT=b"\x0c" * 3), scaled(deep(4095), 4095)),
        "png grey and opacity 16": lambda: Case(
            png(np.dstack([full, np.full_like(full, 65535)]), kind=4), scaled(full, 65535)
        ),
        "png rgba 16, clear": lambda: Case(
            png(np.dstack([deep(65535), np.zeros_like(full)]), kind=6), np.full((SIDE, SIDE), 255)
        ),
        "png grey 16, one value clear": lambda: Case(
            png(np.full_like(full, 300), kind=0, tRNS=b"\x01\x2c"), np.full((SIDE, SIDE), 255)
        ),
        "tiff 12 bits": lambda: Case(
            tiff(twelve.astype(u2), photometric=1, tags={258: 12}, data=twelve_packed(twelve)), scaled(twelve, 4095)
        ),
    }
    for order, name in (("<", "little"), (">", "big")):
        options: dict[str, Any] = {"order": order}
        cases |= {
            f"tiff grey 16, {name}": lambda o=options: Case(
                tiff(full.astype(u2), photometric=1, **o), scaled(full, 65535)
            ),
            f"tiff MaxSampleValue, {name}": lambda o=options: Case(
                tiff(twelve.astype(u2), photometric=1, tags={281: 4095}, **o), scaled(twelve, 4095)
            ),
            f"tiff SMaxSampleValue, {name}": lambda o=options: Case(
                tiff(ten.astype(u2), photometric=1, tags={341: 1023}, **o), scaled(ten, 1023)
            ),
            f"tiff MaxSampleValue of the pixels, {name}": lambda o=options: Case(
                tiff(full.astype(u2), photometric=1, tags={281: 40000}, **o), scaled(full, 65535)
            ),
            f"tiff rgb 16, {name}": lambda o=options: Case(
                tiff(deep(65535).astype(u2), photometric=2, **o), scaled(deep(65535), 65535)
            ),
            f"tiff rgb 12 in 16, {name}": lambda o=options: Case(
                tiff(deep(4095).astype(u2), photometric=2, tags={281: (4095,) * 3}, **o), scaled(deep(4095), 4095)
            ),
        }
    cases |= {
        "tiff white is 0, 16": lambda: Case(tiff(full.astype(u2), photometric=0), scaled(65535 - full, 65535)),
        "tiff white is 0, 12 in 16": lambda: Case(
            tiff(twelve.astype(u2), photometric=0, tags={281: 4095}), scaled(4095 - twelve, 4095)
        ),
        "tiff white is 0, 8": lambda: Case(tiff(ramp().astype(np.uint8), photometric=0), 255 - ramp()),
    }
    return cases


def deep(white: int) -> NDArray[np.int64]:
    return np.rint(colours() / 255 * white).astype(np.int64)


def _format_cases() -> dict[str, Callable[[], Case]]:
    image, pixels = Image.fromarray(colours()), colours()
    grey = Image.fromarray(ramp().astype(np.uint8))
    half = Image.new("L", image.size, 128)
    clear = Image.merge("RGBA", [*image.split(), half])
    over_white = np.rint(pixels * (128 / 255) + 255 * (127 / 255))
    four = np.dstack([pixels, ramp().astype(np.uint8)])
    quantized = image.quantize(64)
    return {
        "jpeg": lambda: Case(saved(image, "JPEG", quality=100, subsampling=0), pixels, 3),
        "mpo, first": lambda: Case(
            saved(image, "MPO", save_all=True, append_images=[grey.convert("RGB")], quality=100, subsampling=0),
            pixels,
            3,
        ),
        "bmp": lambda: Case(saved(image, "BMP"), pixels),
        "webp": lambda: Case(saved(image, "WEBP", lossless=True), pixels),
        "gif, first of two": lambda: Case(
            saved(quantized, "GIF", save_all=True, append_images=[grey]), np.asarray(quantized.convert("RGB"))
        ),
        "png palette": lambda: Case(saved(quantized, "PNG"), np.asarray(quantized.convert("RGB"))),
        "png 1 bit": lambda: Case(saved(grey.convert("1"), "PNG"), np.asarray(grey.convert("1")) * 255),
        "png half clear": lambda: Case(saved(clear, "PNG"), over_white, 1),
        "jpeg 2000": lambda: Case(saved(image, "JPEG2000"), pixels),
        "jpeg 2000, grey 16": lambda: Case(
            saved(Image.fromarray(ramp(0, 65535).astype(np.uint16)), "JPEG2000"), scaled(ramp(0, 65535), 65535)
        ),
        "avif": lambda: Case(saved(image, "AVIF", quality=100, subsampling="4:4:4"), pixels, 4),
        "heic": lambda: Case(heif(image), pixels, 2),
        "heic, grey": lambda: Case(saved(grey, "HEIF", quality=-1), ramp(), 2),
        "tiff cmyk": lambda: Case(saved(image.convert("CMYK"), "TIFF"), pixels),
        "tiff lzw": lambda: Case(saved(image, "TIFF", compression="tiff_lzw"), pixels),
        "tiff four bands": lambda: Case(tiff(four, photometric=2), pixels),
        "tiff four bands, unspecified": lambda: Case(tiff(four, photometric=2, tags={338: 0}), pixels),
        "tiff opacity": lambda: Case(tiff(np.asarray(clear), photometric=2, tags={338: 2}), over_white, 1),
        "tiff opacity, multiplied": lambda: Case(
            tiff(np.dstack([pixels // 2, np.full((SIDE, SIDE), 128, np.uint8)]), photometric=2, tags={338: 1}),
            np.rint(pixels // 2 + 127.0),
            2,
        ),
        "tiff with a thumbnail": lambda: Case(with_thumbnail(image, first=False), pixels),
        "tiff after its thumbnail": lambda: Case(with_thumbnail(image, first=True), pixels),
        "tiff lab": lambda: Case(saved(lab_of(image), "TIFF"), lab_in_srgb(np.asarray(lab_of(image))), 2),
    }


def lab_of(image: Image.Image) -> Image.Image:
    changed = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert changed is not None
    return changed


def with_thumbnail(image: Image.Image, *, first: bool) -> bytes:
    stream = io.BytesIO()
    pages = [(image.resize((8, 8)), 1), (image, 0)][:: 1 if first else -1]
    with TiffImagePlugin.AppendingTiffWriter(stream, new=True) as writer:
        for page, kind in pages:
            page.save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
    return stream.getvalue()


def lossy(content: bytes, matrix: NDArray[Any], gamma: float) -> Case:
    """Its pixels are those of a decoder that does not know of profiles, then managed."""
    plain = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return Case(content, shown_in_srgb(plain, matrix, gamma), 3)


def _profile_cases() -> dict[str, Callable[[], Case]]:
    image, pixels = Image.fromarray(colours()), colours()
    grey = Image.fromarray(ramp().astype(np.uint8))
    opaque = image.convert("RGBA")
    linear = np.repeat((ramp() / 255)[..., None], 3, axis=2)
    cases: dict[str, Callable[[], Case]] = {}
    for name, matrix in (("display p3", P3), ("adobe", ADOBE)):
        profile, shown = icc(matrix, 2.19921875), shown_in_srgb(pixels, matrix, 2.19921875)
        cases |= {
            f"png {name}": lambda p=profile, s=shown: Case(saved(image, "PNG", icc_profile=p), s, 2),
            f"tiff {name}": lambda p=profile, s=shown: Case(saved(image, "TIFF", icc_profile=p), s, 2),
            f"webp {name}": lambda p=profile, s=shown: Case(saved(image, "WEBP", lossless=True, icc_profile=p), s, 2),
            f"jpeg {name}": lambda p=profile, m=matrix: lossy(
                saved(image, "JPEG", quality=95, icc_profile=p), m, 2.19921875
            ),
            f"heic {name}": lambda p=profile, s=shown: Case(heif(image, icc_profile=p), s, 3),
            f"avif {name}": lambda p=profile, m=matrix: lossy(
                saved(image, "AVIF", quality=90, icc_profile=p), m, 2.19921875
            ),
            f"png rgb 16 {name}": lambda p=profile, s=shown: Case(
                png(deep(65535), kind=2, iCCP=b"p\0\0" + zlib.compress(p)), s, 2
            ),
            f"png clear {name}": lambda p=profile, s=shown: Case(
                saved(opaque, "PNG", icc_profile=p),
                s,
                2,
            ),
        }
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    curve = icc(None, 1.0)
    cases |= {
        "png srgb": lambda: Case(saved(image, "PNG", icc_profile=srgb), pixels),
        "png grey, linear": lambda: Case(saved(grey, "PNG", icc_profile=curve), encoded(linear), 2),
        "png grey, profile of colours": lambda: Case(saved(grey, "PNG", icc_profile=srgb), ramp()),
        "png broken profile": lambda: Case(saved(image, "PNG", icc_profile=b"broken" * 40), pixels),
        "png profile of other pixels": lambda: Case(saved(image, "PNG", icc_profile=curve), pixels),
    }
    return cases


def _dicom_cases() -> dict[str, Callable[[], Case]]:
    twelve, signed = ramp(0, 4095).astype(np.uint16), ramp(-1000, 1000).astype(np.int16)
    pixels, byte = colours(), ramp().astype(np.uint8)
    table = np.rint(np.sqrt(np.arange(4096) / 4095) * 1023)
    third = np.arange(4096) * 5
    syntaxes = {"rle": pydicom.uid.RLELossless, "jpeg 2000": pydicom.uid.JPEG2000Lossless}
    return {
        "dicom 12": lambda: Case(dicom(twelve, bits=12), scaled(twelve, 4095)),
        "dicom 8": lambda: Case(dicom(byte, bits=8), byte),
        "dicom monochrome1": lambda: Case(
            dicom(twelve, bits=12, photometric="MONOCHROME1"), scaled(4095 - twelve.astype(int), 4095)
        ),
        "dicom monochrome1, said twice": lambda: Case(
            dicom(twelve, bits=12, photometric="MONOCHROME1", PresentationLUTShape="INVERSE"),
            scaled(4095 - twelve.astype(int), 4095),
        ),
        "dicom window": lambda: Case(
            dicom(twelve, bits=12, WindowCenter=2000, WindowWidth=1000), windowed(twelve, 2000, 1000), 1
        ),
        "dicom first window of two": lambda: Case(
            dicom(twelve, bits=12, WindowCenter=[2000, 100], WindowWidth=[1000, 50]), windowed(twelve, 2000, 1000), 1
        ),
        "dicom exact window": lambda: Case(
            dicom(twelve, bits=12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT"),
            windowed(twelve, 2000, 1000, function="LINEAR_EXACT"),
            1,
        ),
        "dicom sigmoid window": lambda: Case(
            dicom(twelve, bits=12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID"),
            windowed(twelve, 2000, 1000, function="SIGMOID"),
            1,
        ),
        "dicom monochrome1 window": lambda: Case(
            dicom(twelve, bits=12, photometric="MONOCHROME1", WindowCenter=2000, WindowWidth=1000),
            255 - windowed(twelve, 2000, 1000),
            1,
        ),
        "dicom rescaled window": lambda: Case(
            dicom(twelve, bits=12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400),
            windowed(twelve.astype(int) - 1024, 40, 400),
            1,
        ),
        "dicom falling slope": lambda: Case(
            dicom(twelve, bits=12, RescaleSlope=-1, RescaleIntercept=4095), scaled(4095 - twelve.astype(int), 4095)
        ),
        "dicom falling slope, window": lambda: Case(
            dicom(twelve, bits=12, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2000, WindowWidth=1000),
            windowed(4095 - twelve.astype(int), 2000, 1000),
            1,
        ),
        "dicom signed window": lambda: Case(
            dicom(signed, bits=16, WindowCenter=0, WindowWidth=500), windowed(signed, 0, 500), 1
        ),
        "dicom voi lut": lambda: Case(
            dicom(twelve, bits=12, VOILUTSequence=lut(table, first=0, bits=10)), scaled(table[twelve], 1023)
        ),
        "dicom modality lut": lambda: Case(
            dicom(twelve, bits=12, ModalityLUTSequence=lut(third, first=0, bits=16)), scaled(third[twelve], 65535)
        ),
        "dicom rgb": lambda: Case(dicom(pixels, bits=8, photometric="RGB"), pixels),
        **{
            f"dicom {name}": lambda uid=uid: Case(dicom(twelve, bits=12, compress=uid), scaled(twelve, 4095))
            for name, uid in syntaxes.items()
        },
    }


CASES = _grey_cases() | _format_cases() | _profile_cases() | _dicom_cases()
