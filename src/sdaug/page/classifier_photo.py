"""Reading one photo for a trained classifier, as `prepare` made those that it has learnt from."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdaug.photos.decode import decode_photo
from sdaug.photos.formats import UnreadablePhotoError

if TYPE_CHECKING:  # imports torch
    from sdaug.classify.models import ModelCard


def read_photo(path: Path, card: "ModelCard") -> NDArray[np.uint8]:
    """The pixels `(H, W, 3)`.

    Raises:
        FileNotFoundError: the file cannot be read.
        ValueError: it is no photo that can be used.
    """
    try:
        return decode_photo(
            path.read_bytes(),
            size_pixels=card.prepared_pixels,
            square=card.square,
            sixteen_bit_maximum=card.sixteen_bit_maximum,
        )
    except OSError as error:
        raise FileNotFoundError(f"{path}: cannot be read ({error.strerror}); give image files, not folders") from error
    except UnreadablePhotoError as error:
        raise ValueError(f"{path}: {error}; repair it or leave it out") from error
