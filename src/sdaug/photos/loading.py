"""Reading raw photos: each is decoded once, written square and small, and described by what identifies it."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sdaug.common.images import save_png
from sdaug.common.photo_copies import Look, look_at_one
from sdaug.common.progress import progress
from sdaug.photos.decode import open_photo, to_square
from sdaug.photos.folders import Source
from sdaug.photos.formats import UnreadablePhotoError
from sdaug.photos.params import PrepareParams
from sdaug.photos.photo_rules import Broken
from sdaug.photos.tree import Part

NUM_DECODERS = 2  # threads, because Pillow decodes without holding the GIL


class Loaded(NamedTuple):
    """A photo whose pixels are written, but which is not yet assigned to a split.

    `id` and `sha256` are of the source file's bytes; `pixels` (a hash) and `look` are of the decoded photo before it
    is made square and small. So none of them changes with the settings of `prepare`.
    """

    source: Source
    id: str
    sha256: str
    pixels: str
    look: Look
    sixteen_bit_peak: int | None
    has_broken_profile: bool


def load_photos(
    params: PrepareParams, sources: Sequence[Source], images_dir: Path, *, title: str = "prepare"
) -> tuple[list[Loaded], list[Broken]]:
    """Decode every photo and write its pixels; results are in the order of `sources`, `title` is that of progress."""
    load = partial(_load_photo, params, images_dir)
    with ThreadPoolExecutor(NUM_DECODERS) as pool:
        results = list(progress(pool.map(load, sources), title=title, total=len(sources), unit="photo"))
    loaded = [result for result in results if isinstance(result, Loaded)]
    return loaded, [result for result in results if isinstance(result, Broken)]


def find_same(loaded: Sequence[Loaded]) -> list[list[Loaded]]:
    """Photos with the same pixels together, by id of the first, which is the one to keep.

    A photo of the test set comes first, then one of a given validation set, so that none moves from there to training.

    Raises:
        ValueError: classes share photos; all of these are named.
    """
    by_pixels: dict[str, list[Loaded]] = defaultdict(list)
    for item in sorted(loaded, key=lambda item: (_rank(item.source.part), item.id, item.source.path)):
        by_pixels[item.pixels].append(item)
    same = sorted(by_pixels.values(), key=lambda items: items[0].id)
    clashes = [items for items in same if len({item.source.label for item in items}) > 1]
    if clashes:
        named = "; ".join(sorted(" and ".join(sorted(map(_with_label, items))) for items in clashes))
        raise ValueError(
            f"{named}: the same picture in two classes; keep each in one: name the others in prepare.ignore in "
            "params.yaml (patterns of files that are not read), or delete them"
        )
    return same


def file_id(sha256: str) -> str:
    """The id of a photo, from the hash of its file; 12 hex digits: among 10,000, two share one at 1 in 5.6 million.

    Not the file name, which may carry the label, as `_C3_` does in the published teats.
    """
    return sha256[:12]


def _with_label(item: Loaded) -> str:
    return f"{item.source.path} ({item.source.label})"


def _rank(part: Part | None) -> int:
    return {"test": 0, "val": 1}.get(part or "train", 2)


def _load_photo(params: PrepareParams, images_dir: Path, source: Source) -> Loaded | Broken:
    try:
        content = source.path.read_bytes()
        opened = open_photo(content, sixteen_bit_maximum=params.sixteen_bit_maximum)
    except UnreadablePhotoError as error:
        return Broken(source, str(error))
    except OSError as error:
        return Broken(source, error.strerror or type(error).__name__)
    image, sha256 = opened.image, hashlib.sha256(content).hexdigest()
    pixels = to_square(image, size_pixels=params.size_pixels, square=params.square)
    save_png(images_dir / f"{file_id(sha256)}.png", pixels)
    whole = hashlib.sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()
    return Loaded(
        source,
        file_id(sha256),
        sha256,
        whole,
        look_at_one(image),
        sixteen_bit_peak=opened.sixteen_bit_peak,
        has_broken_profile=opened.has_broken_profile,
    )
