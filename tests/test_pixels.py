"""Each kind of file is decoded to what a colour-managed or windowing viewer shows, or refused by name."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pixel_files import CASES, SIDE, colours, dicom, lut, png, ramp, saved, tiff

from sdaug.photos import decode
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
