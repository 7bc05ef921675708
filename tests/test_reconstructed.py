"""Reconstructed photos: every real training photo has one, and it is packed without being a training image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arms import arm_images
from test_arms import DRAWN, PHOTOS, REAL, arm, compose, part, split

from sdaug.common.images import save_png
from sdaug.common.manifest import Photo
from sdaug.common.packed import read_packed
from sdaug.datasets.arms import Example, compose_arm
from sdaug.datasets.packing import pack_examples
from sdaug.datasets.reconstructed import find_reconstructed


def few_photos() -> list[Photo]:
    """Photos of some groups, a few of which validate."""
    return PHOTOS[::41]


def compose_with_reconstructed(folder: Path) -> list[Example]:
    """The examples of an arm with synthetic images, and its photos reconstructed, all as files."""
    photos, arm = few_photos(), arm_images(per_class=1)
    drawn = [replace(example, source=folder / "synthetic.png") for example in DRAWN]
    examples = compose_arm(photos, drawn, images_dir=folder / "images", arm=arm, split=split("clean"))
    for example in examples:
        for source in (example.source, folder / "reconstructed" / example.source.name):
            source.parent.mkdir(parents=True, exist_ok=True)
            save_png(source, np.full((16, 16, 3), sum(map(ord, source.as_posix())) % 256, np.uint8))
    return [*examples, *find_reconstructed(examples, folder / "reconstructed")]


def test_every_real_training_photo_is_reconstructed_and_nothing_else(tmp_path: Path) -> None:
    examples = compose_with_reconstructed(tmp_path)
    photos = [example for example in part(examples, "train") if example.origin == "real"]
    reconstructed = part(examples, "reconstructed")
    assert [copy.id for copy in reconstructed] == [f"reconstructed-{photo.id}" for photo in photos]
    assert [copy.label for copy in reconstructed] == [photo.label for photo in photos]
    assert {copy.origin for copy in reconstructed} == {"reconstructed"}
    assert len(reconstructed) < len(examples) - len(reconstructed)


def test_reconstructed_photos_have_the_group_of_their_photo_and_change_no_part(tmp_path: Path) -> None:
    examples = compose_with_reconstructed(tmp_path)
    without = [example for example in examples if example.part != "reconstructed"]
    packs = []
    for name, kept in (("with", examples), ("without", without)):
        pack_examples(kept, few_photos(), tmp_path / name)
        packs.append(read_packed(tmp_path / name, sorted(REAL)))
    for name in ("train", "validation"):
        (images, labels), (others, other_labels) = (pack.part(name) for pack in packs)
        assert np.array_equal(images, others) and np.array_equal(labels, other_labels)
    groups = dict(zip(packs[0].ids, packs[0].groups, strict=True))
    reconstructed = [packs[0].ids[row] for row in packs[0].rows("reconstructed")]
    assert reconstructed and all(groups[copy] == groups[copy.removeprefix("reconstructed-")] for copy in reconstructed)


def test_photo_without_a_reconstruction_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\.png: missing; run `dvc repro reconstruct`"):
        find_reconstructed(compose(arm=arm(0.0), split=split("clean")), tmp_path)


def test_repeated_photo_is_packed_in_the_group_of_its_photo(tmp_path: Path) -> None:
    photos = few_photos()
    repeats = arm_images(duplicated=1.0)
    examples = compose_arm(photos, [], images_dir=tmp_path / "images", arm=repeats, split=split("clean"))
    for example in examples:
        example.source.parent.mkdir(exist_ok=True)
        save_png(example.source, np.full((16, 16, 3), sum(map(ord, example.label)) % 256, np.uint8))
    pack_examples(examples, photos, tmp_path / "packed")
    packed = read_packed(tmp_path / "packed", sorted(REAL))
    groups = dict(zip(packed.ids, packed.groups, strict=True))
    repeated = {example.id: example.photo for example in examples if example.photo}
    assert repeated and all(groups[name] == groups[photo] for name, photo in repeated.items())
    rows = packed.rows("train")
    assert rows[-1] - rows[0] == len(rows) - 1  # in one stretch, so that the file stays mapped
