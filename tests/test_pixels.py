"""Each kind of file is decoded to what a colour-managed or windowing viewer shows, or refused by name."""

import hashlib
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pixel_files import CASES, SIDE, colours, dicom, png, ramp, saved, tiff

from sdaug.photos.decode import decode_photo, open_photo
from sdaug.photos.formats import UnreadablePhotoError, count_lost, unread_suffixes


def decoded(name: str) -> np.ndarray:
    case = CASES[name]()
    return decode_photo(case.content, size_pixels=SIDE, square="stretch", sixteen_bit_maximum=case.maximum)


def test_there_are_many_kinds() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_those_that_a_viewer_shows(name: str) -> None:
    case = CASES[name]()
    expected = case.expected if case.expected.ndim == 3 else np.repeat(case.expected[..., None], 3, axis=2)
    assert np.abs(decoded(name).astype(float) - expected).max() <= case.tolerance


@pytest.mark.parametrize("name", [name for name in CASES if "p3" in name or "hei" in name or "dicom window" in name])
def test_pixels_are_the_same_each_time(name: str) -> None:
    content = CASES[name]().content
    hashes = {hashlib.sha256(open_photo(content).image.tobytes()).hexdigest() for _ in range(3)}
    assert len(hashes) == 1


def pages(*kinds: int) -> bytes:
    image = Image.fromarray(colours())
    return saved(image, "TIFF", save_all=True, append_images=[image] * (len(kinds) - 1))


TWELVE = ramp(0, 4095)
REFUSED = {
    "pages": (pages(0, 0, 0), "TIFF of 3 pages, need one; save each as a file of its own"),
    "frames": (
        dicom(np.stack([TWELVE] * 5).astype(np.uint16), bits=12, NumberOfFrames=5),
        "DICOM: 5 frames, need one; save each",
    ),
    "float": (saved(Image.new("F", (SIDE, SIDE)), "TIFF"), "floating-point pixels have no fixed range; save"),
    "more than stated": (
        tiff(TWELVE.astype(np.uint16), photometric=1, tags={281: 1023}),
        "a pixel value of 4095, but the file states at most 1023",
    ),
    "five bands": (tiff(np.zeros((SIDE, SIDE, 7), np.uint8), photometric=1), "TIFF, .* save it as grey or RGB with 8"),
    "planes": (
        tiff(np.zeros((SIDE, SIDE, 3), np.uint16), photometric=2, tags={284: 2, 273: (8,) * 3, 279: (2048,) * 3}),
        "TIFF with 16 bits in separate planes",
    ),
    "tiff ycbcr": (
        tiff(np.zeros((SIDE, SIDE, 3), np.uint8), photometric=6, tags={530: (1, 1)}),
        "TIFF with uncompressed YCbCr; save it as RGB",
    ),
    "svg": (b"<svg/>", "not a JPEG, PNG, .* or DICOM image"),
    "dicom without pixels": (
        dicom(TWELVE.astype(np.uint16), bits=12)[:300],
        "DICOM: no pixels; need an image with stored integer values",
    ),
    "lossless jpeg": (
        dicom(TWELVE.astype(np.uint16), bits=12).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.70"),
        "DICOM: ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_one_meaning_is_refused_by_name(name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(UnreadablePhotoError, match=reason):
        open_photo(content)


def test_a_setting_below_the_brightest_pixel_is_refused() -> None:
    with pytest.raises(UnreadablePhotoError, match="value of 4095, but prepare.sixteen_bit_maximum is at most 1023"):
        open_photo(png(TWELVE, kind=0), sixteen_bit_maximum=1023)


@pytest.mark.parametrize(("package", "name"), [("pillow_heif", "heic"), ("pydicom", "dicom 12")])
def test_without_the_extra_the_way_out_is_named(package: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = CASES[name]().content
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnreadablePhotoError, match=r"install sdaug\[formats\]"):
        open_photo(content)


def test_a_broken_profile_is_said() -> None:
    said = {name: open_photo(CASES[name]().content).has_broken_profile for name in CASES if name.startswith("png ")}
    assert {name for name, is_broken in said.items() if is_broken} == {
        "png broken profile",
        "png profile of other pixels",
    }


def test_a_large_photo_is_read_and_a_bomb_is_not() -> None:
    side = 9600  # 92 megapixels
    tile = np.random.default_rng(0).integers(0, 256, (side // 8, side), np.uint8)
    photo = saved(Image.fromarray(np.tile(tile, (8, 1))), "JPEG", quality=20)
    assert decode_photo(photo, size_pixels=SIDE, square="crop").shape == (SIDE, SIDE, 3)
    bomb = saved(Image.new("1", (side, side)), "PNG")
    with pytest.raises(UnreadablePhotoError, match="9600 x 9600 pixels in .* bytes could be a decompression bomb"):
        open_photo(bomb)


def test_pixels_beyond_any_memory_are_refused() -> None:
    content = png(ramp(), kind=0, bits=8)
    head = struct.pack(">II", 30_000, 30_000)
    spoiled = content[:16] + head + content[24:29] + struct.pack(">I", zlib.crc32(b"IHDR" + head + content[24:29]))
    with pytest.raises(UnreadablePhotoError, match="30000 x 30000 pixels, need at most 500 million; scale"):
        open_photo(spoiled + content[33:])


def test_only_16_bit_values_of_unknown_depth_have_a_peak() -> None:
    peaks = {name: open_photo(CASES[name]().content).sixteen_bit_peak for name in CASES if name != "tiff lab"}
    assert {name for name, peak in peaks.items() if peak == 4095} == {
        "png grey 12 in 16, setting",
        "png grey 16, dark, setting 65535",
        "png rgb 12 in 16, setting",
    } - {"png rgb 12 in 16, setting"}
    assert not any(peak for name, peak in peaks.items() if "sBIT" in name or "SampleValue, " in name)


def test_unread_files_are_counted_by_class_and_suffix() -> None:
    names = ["1.cr2", "2.CR2", "1.svg", "notes.txt", "scan.nii.gz", "README", "photo.jpg"]
    unread = unread_suffixes(("rust", Path(name)) for name in names)
    assert unread == {("rust", key): 1 for key in (".svg", ".txt", ".nii", "(no suffix)")} | {("rust", ".cr2"): 2}
    assert count_lost(unread) == {"rust": 4}
