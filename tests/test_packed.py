"""Packed data sets: pixels and labels are read back unchanged."""

from pathlib import Path

import numpy as np
import pytest

from sdaug.common.images import save_png
from sdaug.common.packed import read_packed, write_packed

CLASSES = ["score_1", "score_2"]
PARTS = ["train", "train", "validation"]


def write_images(folder: Path, sizes: list[tuple[int, int]]) -> list[Path]:
    stream = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        save_png(path, stream.integers(0, 256, (*size, 3), dtype=np.uint8))
    return paths


def rows(labels: list[str]) -> list[dict[str, str]]:
    return [
        {"id": str(index), "group": f"g{index}", "label": label, "origin": "real", "part": PARTS[index], "draw": ""}
        for index, label in enumerate(labels)
    ]


def test_part_has_its_own_pixels_and_labels(tmp_path: Path) -> None:
    paths = write_images(tmp_path, [(16, 16)] * 3)
    write_packed(tmp_path, paths, rows(["score_2", "score_1", "score_2"]))
    images, labels = read_packed(tmp_path, CLASSES).part("train")
    assert images.shape == (2, 16, 16, 3) and labels.tolist() == [1, 0]


def test_part_has_the_synthetic_images_of_one_draw(tmp_path: Path) -> None:
    table = [
        row | {"part": "train", "draw": draw} for row, draw in zip(rows(["score_1"] * 3), ("", "0", "5"), strict=True)
    ]
    write_packed(tmp_path, write_images(tmp_path, [(16, 16)] * 3), table)
    packed = read_packed(tmp_path, CLASSES)
    assert packed.draws == [0, 5]
    assert [packed.rows("train", draw).tolist() for draw in (None, 0, 5)] == [[0], [0, 1], [0, 2]]


def test_same_images_are_packed_in_the_same_bytes(tmp_path: Path) -> None:
    paths = write_images(tmp_path, [(16, 16)] * 3)
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_packed(tmp_path / name, paths, rows(["score_2", "score_1", "score_2"]))
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1]


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    paths = write_images(tmp_path, [(16, 16), (16, 16), (16, 24)])
    with pytest.raises(ValueError, match=r"2\.png: 24x16 pixels, but .*0\.png has 16x16"):
        write_packed(tmp_path, paths, rows(["score_1"] * 3))


def test_label_that_is_no_class_is_named(tmp_path: Path) -> None:
    write_packed(tmp_path, write_images(tmp_path, [(16, 16)] * 3), rows(["score_1", "score_2", "score_7"]))
    with pytest.raises(ValueError, match=r"class 'score_7' is not in params\.yaml: classes"):
        read_packed(tmp_path, CLASSES)


def test_nothing_to_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images to pack"):
        write_packed(tmp_path, [], [])
