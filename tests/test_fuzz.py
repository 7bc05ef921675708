"""Seeded fuzz over params, tables and images: whatever is in a file, an error is one of ours, and names the file."""

import copy
import io
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from stage_files import READERS, write_stage_files

from sdaug.check.study import check_study
from sdaug.common.sections import read_params
from sdaug.common.stage import escape
from sdaug.photos.archives import unpack_photos
from sdaug.photos.decode import UnreadablePhotoError, decode_photo

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
DEFAULT = read_params(PARAMS)
SHORT = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["1e-4", "none", "../.."]),
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=5
)


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value of a params file."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*before, key)
        yield from places(value[key], (*before, key))


@seed(0)
@SHORT
@given(st.lists(st.tuples(st.sampled_from(list(places(DEFAULT))), trees), min_size=1, max_size=3))
def test_any_value_anywhere_in_params_is_taken_or_named(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    values = copy.deepcopy(DEFAULT)
    for place, value in changes:
        inner = values
        try:
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
        except (TypeError, KeyError, IndexError):  # an earlier change has removed the place
            continue
    refused_or_taken(lambda: check_study(values, PARAMS), PARAMS)


@seed(0)
@SHORT
@given(st.data())
def test_any_bytes_in_params_are_taken_or_named(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(damaged(PARAMS.read_bytes(), data))
    refused_or_taken(lambda: check_study(read_params(path), path, made_dirs=(Path("data/phantom"),)), path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_stage_files(folder)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_any_damage_of_a_file_is_named_or_changes_a_value(files: Path, name: str) -> None:
    path = files / name
    whole = path.read_bytes()
    if not name.startswith("model/"):  # its weights are not those of the card
        READERS[name](path)

    @seed(0)
    @SHORT
    @given(st.data())
    def damage(data: st.DataObject) -> None:
        path.write_bytes(damaged(whole, data))
        refused_or_taken(lambda: READERS[name](path), path.parent)

    try:
        damage()
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_any_bytes_of_an_image_are_decoded_or_refused(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 36, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    whole = stream.getvalue()

    @seed(0)
    @SHORT
    @given(st.data())
    def decode(data: st.DataObject) -> None:
        content = damaged(whole, data, head=400)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                assert decode_photo(content, size_pixels=32, square="crop").shape == (32, 32, 3)
            except UnreadablePhotoError as error:
                assert str(error) and "\n" not in str(error)

    decode()


@seed(0)
@SHORT
@given(st.data())
def test_any_bytes_of_an_archive_are_unpacked_or_refused_and_stay_inside(tmp_path: Path, data: st.DataObject) -> None:
    source = tmp_path / "source"
    if not source.is_dir():
        (source / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(source / "a" / "1.png")
        for kind in ("zip", "tar", "gztar"):
            shutil.make_archive(str(tmp_path / "whole"), kind, source)
    whole = data.draw(st.sampled_from(["whole.zip", "whole.tar", "whole.tar.gz"]))
    archive, out = tmp_path / "damaged", tmp_path / "out"
    archive.write_bytes(damaged((tmp_path / whole).read_bytes(), data))
    out.mkdir()
    before = set(tmp_path.iterdir())
    refused_or_taken(lambda: unpack_photos(archive, out), archive)
    assert set(tmp_path.iterdir()) == before
    shutil.rmtree(out)


def refused_or_taken(read: Callable[[], object], where: Path) -> None:
    """Any other error than these two fails the test, and so does a message that does not begin with the file."""
    try:
        read()
    except (ValueError, FileNotFoundError) as error:
        assert escape(str(error)).startswith(str(where)), error


def damaged(whole: bytes, data: st.DataObject, *, head: int | None = None) -> bytes:
    """The bytes with some of the first `head` changed, removed, repeated or inserted, or cut off."""
    content = bytearray(whole)
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(rng.choice((1, 2, 4, 16))):
        place = rng.randrange(min(len(content), head or len(content)) or 1)
        kind = rng.choice(("change", "change", "change", "remove", "insert", "cut", "swap"))
        if kind == "change" and content:
            content[place] = rng.choice((0, 255, ord(","), ord("\n"), ord('"'), rng.randrange(256)))
        elif kind == "remove":
            del content[place : place + rng.randrange(1, 9)]
        elif kind == "insert":
            content[place:place] = rng.choice((b"nan", b"-1", b"../", b"\n", b"1e999", b"\xff", b"{{", b"\0"))
        elif kind == "swap":
            content[place : place + 8] = content[place : place + 8][::-1]
        elif kind == "cut" and rng.random() < 0.2:
            del content[place:]
    return bytes(content)
