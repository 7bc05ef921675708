"""Examples of each step from a photo to an image: which are chosen, what is kept of them, and how they are shown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_measures import TRAINING, images

from sdaug.common.files import read_csv, write_csv
from sdaug.common.images import read_png, save_png
from sdaug.fidelity.step_examples import NUM_EXAMPLES, choose_images, write_examples
from sdaug.verdict.steps import TITLES, Example, Layout, draw_steps, read_examples, tile_pixels

LIGHT = 1
DRAWN = np.full((NUM_EXAMPLES, 48, 48, 3), 7, np.uint8)


def test_first_images_of_the_first_draw_are_chosen_with_their_seeds_and_the_class_prompt() -> None:
    listed = images(5, [3, 3, 8, 8, 8])
    chosen = choose_images(listed, "a photo")
    assert chosen == [replace(image, prompt="a photo") for image in listed[:2]]
    assert len(choose_images(images(9, [0] * 9), "a photo")) == NUM_EXAMPLES


def test_images_of_other_settings_are_not_chosen() -> None:
    first, *others = images(3, [0] * 3)
    changed = [replace(image, drawing=replace(image.drawing, guidance_scale=9.0)) for image in others]
    assert len(choose_images([first, *changed], "a photo")) == 1


def test_reconstructions_are_those_of_photos_of_the_class(tmp_path: Path) -> None:
    reconstructed = replace(TRAINING, reconstructed=255 - TRAINING.pixels)
    rows = write_examples(tmp_path, reconstructed, LIGHT, images(3, [0] * 3), DRAWN, seed=0)
    places = {photo.id: place for place, photo in enumerate(TRAINING.photos)}
    assert len({row["photo"] for row in rows}) == NUM_EXAMPLES
    for row in rows:
        place = places[row["photo"]]
        assert TRAINING.labels[place] == LIGHT
        assert np.array_equal(read_png(tmp_path / row["reconstructed"]), reconstructed.reconstructed[place])
        assert (read_png(tmp_path / row["base"]) == 7).all()


@pytest.mark.parametrize(("num_photos", "num_images", "expected"), [(1, 3, 1), (9, 2, 2)])
def test_there_are_as_many_examples_as_photos_and_images(
    tmp_path: Path, num_photos: int, num_images: int, expected: int
) -> None:
    kept = np.flatnonzero(TRAINING.labels == LIGHT)[:num_photos]
    few = replace(
        TRAINING,
        photos=[TRAINING.photos[index] for index in kept],
        reconstructed=TRAINING.reconstructed[kept],
        labels=TRAINING.labels[kept],
    )
    listed = images(num_images, [0] * num_images)
    rows = write_examples(tmp_path, few, LIGHT, listed, DRAWN[:num_images], seed=0)
    assert [row["synthetic"] for row in rows] == [image.id for image in listed[:expected]]


def table(folder: Path) -> Path:
    """A folder with the examples of a class `light`."""
    rows = write_examples(folder, TRAINING, LIGHT, images(3, [0] * 3), DRAWN, seed=0)
    write_csv(folder / "steps.csv", rows)
    return folder


def test_examples_are_found_by_their_ids(tmp_path: Path) -> None:
    first, *_ = read_csv(table(tmp_path) / "steps.csv")
    synthetic = {image.id: Path(image.id) for image in images(3, [0] * 3)}
    photos = {photo.id: Path(f"{photo.id}.png") for photo in TRAINING.photos}
    found = read_examples(tmp_path, classes=["dark", "light"], synthetic=synthetic, photos=photos)
    assert list(found) == ["light"] and len(found["light"]) == NUM_EXAMPLES
    assert found["light"][0].files == (
        Path(f"{first['photo']}.png"),
        tmp_path / first["reconstructed"],
        tmp_path / first["base"],
        Path(first["synthetic"]),
    )


def test_example_of_another_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"steps.csv: image t\d+: no such file in this study; run `dvc repro fid"):
        read_examples(table(tmp_path), classes=["light"], synthetic={}, photos={})


def test_example_of_an_unknown_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"steps.csv: label light: not one of dark; run `dvc repro fidelity`"):
        read_examples(table(tmp_path), classes=["dark"], synthetic={}, photos={})


@pytest.mark.parametrize(("size", "tile"), [(16, 96), (32, 96), (48, 96), (64, 128), (96, 96), (128, 128), (512, 128)])
def test_small_images_are_enlarged_to_a_whole_multiple(size: int, tile: int) -> None:
    assert tile_pixels(size) == tile


def paint(folder: Path, value: int, size: int) -> Path:
    path = folder / f"{value}.png"
    save_png(path, np.full((size, size, 3), value, np.uint8))
    return path


@pytest.mark.parametrize("size", [16, 48, 64, 200])
@pytest.mark.parametrize("num_examples", [1, 3])
def test_every_image_stands_whole_in_its_column(tmp_path: Path, size: int, num_examples: int) -> None:
    columns = [paint(tmp_path, value, size) for value in (40, 80, 120, 160)]
    example = Example(photo=columns[0], reconstructed=columns[1], base=columns[2], dreambooth=columns[3])
    draw_steps(tmp_path / "steps.png", {"a": [example] * num_examples, "b": [example]}, num_photos={"a": 9, "b": 1})
    pixels = read_png(tmp_path / "steps.png")
    # The area of each colour is that of its tiles; letters are of other colours, but for some of their edges.
    area = (num_examples + 1) * tile_pixels(size) ** 2
    for value in (40, 80, 120, 160):
        inside = (pixels == value).all(axis=2)
        assert area <= inside.sum() < 1.01 * area
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 255).all()


@pytest.mark.parametrize("num_examples", [1, 3])
def test_titles_neither_overlap_nor_are_cut(num_examples: int) -> None:
    layout = Layout(tile=96, num_examples=num_examples, names=(("a_name_that_is_long", "9 photos"),))
    ends = [layout.left(column) for column in (1, 2, 3)] + [layout.size[0]]
    for column, (title, end) in enumerate(zip(TITLES, ends, strict=True)):
        for font, line in zip(layout.fonts(title), title, strict=True):
            assert layout.left(column) + font.getlength(line) < end
    assert layout.fonts(("a_name_that_is_long", ""))[0].getlength("a_name_that_is_long") < layout.left(0)
