"""Training sets: origins and reconstructed photos are found in a packed data set, and stand in for the photos."""

from pathlib import Path

import numpy as np
import torch
from test_packed import CLASSES, write_images

from sdaug.classify.inference import as_pixels
from sdaug.common.packed import Packed, read_packed, write_packed
from sdaug.train.examples import NOT_RECONSTRUCTED, BatchReader, TrainingSet, packed_training, photos_alone

CPU = torch.device("cpu")
ROWS = [
    ("a", "score_1", "real", "train", ""),
    ("b", "score_2", "real", "train", ""),
    ("s0", "score_2", "synthetic", "train", "0"),
    ("s1", "score_2", "synthetic", "train", "1"),
    ("o", "score_1", "oracle", "train", ""),
    ("v", "score_1", "real", "validation", ""),
    ("reconstructed-b", "score_2", "reconstructed", "reconstructed", ""),
    ("reconstructed-a", "score_1", "reconstructed", "reconstructed", ""),
]
COLUMNS = ("id", "label", "origin", "part", "draw")


def packed(folder: Path) -> Packed:
    rows = [dict(zip(COLUMNS, row, strict=True)) | {"group": row[0]} for row in ROWS]
    write_packed(folder, write_images(folder, [(16, 16)] * len(ROWS)), rows)
    return read_packed(folder, CLASSES)


def test_reconstructed_photos_are_found_by_id_and_are_no_training_images(tmp_path: Path) -> None:
    data = packed(tmp_path)
    training = packed_training(data, 1)
    assert training.labels.tolist() == [0, 1, 1, 0] and training.is_synthetic.tolist() == [False, False, True, False]
    assert training.reconstructed_rows.tolist() == [1, 0, NOT_RECONSTRUCTED, NOT_RECONSTRUCTED]
    assert np.array_equal(training.reconstructed, data.images[6:])


def test_a_set_without_reconstructed_photos_softens_nothing(tmp_path: Path) -> None:
    images, labels = packed(tmp_path).part("train", 0)
    training = photos_alone(images, labels)
    assert len(training.reconstructed) == 0 and set(training.reconstructed_rows) == {NOT_RECONSTRUCTED}


def everything(folder: Path) -> TrainingSet:
    return packed_training(packed(folder), 0)


def test_only_chosen_photos_that_were_reconstructed_are_replaced(tmp_path: Path) -> None:
    training = everything(tmp_path)
    chosen = torch.tensor([2, 1, 0, 1, 3])
    pixels, targets = BatchReader(training, CPU).read(chosen, torch.tensor([True, True, False, False, True]))
    wanted = training.images[chosen.numpy()]
    wanted[1] = training.reconstructed[training.reconstructed_rows[1]]
    assert torch.equal(pixels, as_pixels(wanted, CPU)) and targets.tolist() == training.labels[chosen].tolist()


def test_reading_leaves_the_images_as_they_are(tmp_path: Path) -> None:
    training = everything(tmp_path)
    before = np.array(training.images)
    BatchReader(training, CPU).read(torch.arange(4), torch.ones(4, dtype=torch.bool))
    assert np.array_equal(training.images, before)
