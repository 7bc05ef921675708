from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sdaug.photos.decode import UnreadablePhotoError, decode_photo

BEST: dict[str, Any] = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}

# How the stored pixels are transformed for each EXIF orientation.
CAMERA_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def noise(seed: int, height: int = 32, width: int = 32) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def quadrants(height: int = 32, width: int = 32) -> Image.Image:
    """Red and green above blue and white, so that each rotation and flip looks different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[: height // 2, width // 2 :, 1] = 255
    pixels[height // 2 :, : width // 2, 2] = 255
    pixels[height // 2 :, width // 2 :] = 255
    return Image.fromarray(pixels)


def decoded(path: Path, square: Any = "stretch") -> NDArray[np.uint8]:
    return decode_photo(path.read_bytes(), size_pixels=32, square=square)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp"])
def test_each_format_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    quadrants().save(path, **BEST.get(suffix, {}))
    assert np.abs(decoded(path)[8::16, 8::16].astype(int) - np.asarray(quadrants())[8::16, 8::16]).max() <= 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize(("orientation", "camera_turn"), CAMERA_TURNS.items())
def test_exif_orientation_is_applied(
    tmp_path: Path, suffix: str, orientation: int, camera_turn: Image.Transpose | None
) -> None:
    upright = quadrants(48, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if camera_turn is None else upright.transpose(camera_turn)
    stored.save(tmp_path / f"photo.{suffix}", exif=exif, **BEST.get(suffix, {}))
    expected = np.asarray(upright.resize((32, 32)))[8::16, 8::16].astype(int)
    assert np.abs(decoded(tmp_path / f"photo.{suffix}")[8::16, 8::16] - expected).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_each_mode_gives_the_same_grey(tmp_path: Path, mode: str) -> None:
    value = 255 if mode == "1" else 102
    image = Image.new("L", (20, 20), value)
    image = Image.fromarray(np.full((20, 20), value * 257, np.uint16)) if mode == "I;16" else image.convert("RGB")
    path = tmp_path / ("photo.tiff" if mode == "CMYK" else "photo.png")
    (image if mode == "I;16" else image.convert(mode)).save(path)
    assert np.abs(decoded(path).astype(int) - value).max() <= (2 if mode == "P" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    options = {"transparency": 0} if mode == "P" else {}
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).convert(mode).save(tmp_path / "photo.png", **options)
    assert decoded(tmp_path / "photo.png").min() == 255


@pytest.mark.parametrize(("height", "width"), [(64, 32), (32, 64), (33, 47), (16, 900)])
@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
def test_every_shape_becomes_square(tmp_path: Path, height: int, width: int, square: str) -> None:
    noise(0, height, width).save(tmp_path / "photo.png")
    assert decoded(tmp_path / "photo.png", square).shape == (32, 32, 3)


def test_square_crops_the_centre_pads_with_the_edge_or_stretches(tmp_path: Path) -> None:
    pixels = np.full((32, 96, 3), 50, np.uint8)
    pixels[4:28, 32:64] = 200
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    crop, pad, stretch = (decoded(tmp_path / "photo.png", square) for square in ("crop", "pad", "stretch"))
    assert np.array_equal(crop, pixels[:, 32:64])
    assert (pad[:8] == 50).all() and (pad[-8:] == 50).all() and pad[16, 16, 0] == 200
    assert stretch[16, 16, 0] == 200 and stretch[16, 4, 0] == 50


def test_deep_grey_beyond_16_bits_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 70000, np.int32)).save(tmp_path / "photo.tiff")
    with pytest.raises(UnreadablePhotoError, match="pixel values exceed 16 bits; save the photo with 8 or 16 bits"):
        decoded(tmp_path / "photo.tiff")


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.new("F", (20, 20)).save(tmp_path / "photo.tiff")
    with pytest.raises(UnreadablePhotoError, match="floating-point pixels"):
        decoded(tmp_path / "photo.tiff")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp"])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    noise(0).save(path)
    content = path.read_bytes()
    for length in range(0, len(content) * 3 // 4, max(1, len(content) // 40)):
        with pytest.raises(UnreadablePhotoError):
            decode_photo(content[:length], size_pixels=32, square="crop")


def test_a_reason_is_one_line_and_the_same_each_time() -> None:
    reasons = set()
    for _ in range(2):
        with pytest.raises(UnreadablePhotoError) as caught:
            decode_photo(b"not a picture", size_pixels=32, square="crop")
        reasons.add(str(caught.value))
    assert reasons == {"not a JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000 or DICOM image"}
