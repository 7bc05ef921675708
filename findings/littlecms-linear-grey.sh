#!/usr/bin/env bash
# Version:  Pillow 13.0.0 (its wheel holds LittleCMS), tried 2026-11-28 on Linux x86_64, Python 3.11
# Source:   https://pillow.readthedocs.io/en/stable/reference/ImageCms.html (profileToProfile, Flags.NOOPTIMIZE)
# Guess:    a grey photo with a linear profile (gamma 1) becomes sRGB by the curve of IEC 61966-2-1, each of the 256
#           greys within one level, since LittleCMS computes with curves of at least 16 bits.
# Seen:     without flags dark greys are up to 10 levels of 255 off; with Flags.NOOPTIMIZE none is more than one off.
#           For RGB profiles with a matrix, the same call is within one level either way.
# Why odd:  nothing in the call speaks of less accuracy, the largest errors are where such photos have most detail, and
#           the same library converts an RGB photo with the same curve to within one level.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.0
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import sys

import numpy as np
from PIL import Image, ImageCms


def linear_grey_profile() -> bytes:
    """ICC 2.4: a grey display whose curve is the identity, with the white point D50."""
    white = struct.pack(">4sI3i", b"XYZ ", 0, *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    curve = struct.pack(">4sII", b"curv", 0, 0)  # no entries: the identity
    text = b"linear grey\0"
    name = struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(78)
    legal = struct.pack(">4sI", b"text", 0) + b"none\0"
    tags = [(b"wtpt", white), (b"kTRC", curve), (b"desc", name), (b"cprt", legal)]
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, data in tags:
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", key, offset + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), bytes(4), 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


levels = np.arange(256)
linear = levels / 255
wanted = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
ramp = Image.fromarray(levels.astype(np.uint8)[None, :])
source = ImageCms.ImageCmsProfile(io.BytesIO(linear_grey_profile()))
srgb = ImageCms.createProfile("sRGB")
off = {}
for name, flags in (("default", ImageCms.Flags.NONE), ("NOOPTIMIZE", ImageCms.Flags.NOOPTIMIZE)):
    image = ImageCms.profileToProfile(ramp, source, srgb, outputMode="RGB", flags=flags)
    off[name] = np.abs(np.asarray(image)[0, :, 1] - wanted)
    worst = int(off[name].argmax())
    print(f"{name}: at most {off[name].max():.1f} of 255 off, at grey {worst}")
is_same = off["default"].max() > 5 and off["NOOPTIMIZE"].max() <= 1.01
print("as found" if is_same else "CHANGED")
sys.exit(not is_same)
PYTHON
