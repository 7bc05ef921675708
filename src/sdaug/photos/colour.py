"""Colours as sRGB: profiles are converted, transparent pixels lie over white."""

import io

import numpy as np
from PIL import Image, ImageCms

# The image mode for each colour space that a profile can be of, as bytes 16 to 20 of its header call it.
SPACES = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK", b"Lab ": "LAB"}
INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC  # keeps the colours that both spaces have
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# LittleCMS interpolates between few points to be fast, which makes dark grey of a linear profile wrong by 10 of 255.
EXACT = FLAGS | ImageCms.Flags.NOOPTIMIZE
# Profiles of sRGB by different makers differ by rounding; pixels with one of these stay as they are.
MAX_SRGB_DIFFERENCE = 2
PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


class BrokenProfileError(ValueError):
    """A colour profile that cannot be used."""


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """The image in RGB, over white where it is transparent, and whether its profile could be used.

    A broken profile, or one of another colour space than the pixels, is ignored: then the pixels are taken for sRGB.
    """
    image, opacity = _split_opacity(image)
    is_usable = True
    if profile:
        try:
            image = _convert(image, profile)
        except BrokenProfileError:
            is_usable = False
    if image.mode == "LAB":  # CIE L*a*b*; Pillow's own conversion refuses it
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        image = _transform(image, lab)
    image = image.convert("RGB")
    if opacity is None:
        return image, is_usable
    # Converted to RGB alone, transparent pixels would show the colour stored under them.
    image.putalpha(opacity)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"), is_usable


def _split_opacity(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours alone, and the opacity of each pixel if any is transparent."""
    if image.mode == "La":
        image = image.convert("LA")  # no longer multiplied by the opacity
    if image.mode in ("P", "PA") or (image.has_transparency_data and image.mode not in ("LA", "RGBA")):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("LA", "RGBA"):
        return image.convert("RGBA").convert("RGB") if image.mode == "RGBA" else image.getchannel("L"), (
            image.getchannel("A")
        )
    return image, None


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    mode = SPACES.get(profile[16:20])
    if mode == "L" and image.mode == "1":
        image = image.convert("L")
    if mode == "RGB" and image.mode in ("1", "L", "YCbCr"):
        image = image.convert("RGB")
    if mode != image.mode:
        raise BrokenProfileError(f"a profile of {profile[16:20]!r} for pixels of {image.mode}")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and _is_srgb(source):
            return image
        return _transform(image, source)
    except PROFILE_ERRORS as error:
        raise BrokenProfileError(str(error)) from error


def _transform(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    flags = FLAGS if image.mode == "RGB" else EXACT
    changed = ImageCms.profileToProfile(image, source, srgb, renderingIntent=INTENT, outputMode="RGB", flags=flags)
    assert changed is not None  # it is None only for a change in place
    return changed


def _is_srgb(source: ImageCms.ImageCmsProfile) -> bool:
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(36, 6, 3)
    changed = np.asarray(_transform(Image.fromarray(grid), source))
    return bool(np.abs(changed.astype(int) - grid).max() <= MAX_SRGB_DIFFERENCE)
