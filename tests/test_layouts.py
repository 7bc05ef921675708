"""Folders of photos as people have them: what is taken for class, part and mask, and what `adopt` and `prepare` see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdaug.photos.folder_layout import LabelTable, Layout
from sdaug.photos.folders import find_photos
from sdaug.run.survey import Survey, describe_survey, refuse_masks, survey_folder

ALL = "abcdefgh"


def make_files(folder: Path, paths: list[str]) -> Path:
    """Empty files, whose names are all that layouts look at."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def several(*folders: str, num: int = 2, suffix: str = ".jpg") -> list[str]:
    return [f"{folder}/{name}{suffix}" for folder in folders for name in ALL[:num]]


# Files, then the classes (id: shown name) and parts that are told from them.
LAYOUTS: dict[str, tuple[list[str], dict[str, str], set[str | None]]] = {
    "names as they are": (
        several("Basophil", "t-shirt", "Mild Dementia", "Café", "健康"),
        {
            "basophil": "Basophil",
            "cafe": "Café",
            "mild_dementia": "Mild Dementia",
            "t_shirt": "t-shirt",
            "class_5": "健康",
        },
        {None},
    ),
    "words that YAML could take for others": (several("yes", "no"), {"no": "no", "yes": "yes"}, {None}),
    "numbers in their order": (
        several("score_10", "score_2", "score_1"),
        {"score_1": "score_1", "score_2": "score_2", "score_10": "score_10"},
        {None},
    ),
    "Training and Testing": (
        several("Training/glioma", "Training/no", "Testing/glioma", "Testing/no"),
        {"glioma": "glioma", "no": "no"},
        {"train", "test"},
    ),
    "a validation set": (
        several("TRAIN/a", "TRAIN/b", "Valid/a", "Valid/b", "Test/a", "Test/b"),
        {"a": "a", "b": "b"},
        {"train", "val", "test"},
    ),
    "parts within classes": (
        several("rust/train", "rust/test", "healthy/train", "healthy/test"),
        {"healthy": "healthy", "rust": "rust"},
        {"train", "test"},
    ),
    "years": (several("2021/rust", "2021/healthy", "2022/rust"), {"healthy": "healthy", "rust": "rust"}, {None}),
    "farms and years": (
        several("north/2021/rust", "north/2021/healthy", "north/2022/rust", "south/2021/rust", "south/2021/healthy"),
        {"healthy": "healthy", "rust": "rust"},
        {None},
    ),
    "one farm, several years": (
        several("north/2021/rust", "north/2021/healthy", "north/2022/rust", "north/2022/healthy"),
        {"healthy": "healthy", "rust": "rust"},
        {None},
    ),
    "cameras below classes": (
        several("rust/nikon", "rust/phone", "healthy/lab", "healthy/field"),
        {"healthy": "healthy", "rust": "rust"},
        {None},
    ),
    "patients below classes": (
        several("rust/p1", "rust/p2", "healthy/p3"), {"healthy": "healthy", "rust": "rust"}, {None},
    ),
    "sets of training and test, each in a folder of its name": (
        several(*(f"{part}/{part}/{name}" for part in ("training_set", "test_set") for name in ("cats", "dogs"))),
        {"cats": "cats", "dogs": "dogs"},
        {"train", "test"},
    ),
    "other words for parts": (
        several(*(f"{part}/{name}" for part in ("Train data", "Validate", "TestSet") for name in "ab")),
        {"a": "a", "b": "b"},
        {"train", "val", "test"},
    ),
    "pieces of classes": (several("part_1/a", "part_1/b", "part_2/a", "part_2/b"), {"a": "a", "b": "b"}, {None}),
    "one patient per class": (several("rust/p1", "healthy/p3"), {"healthy": "healthy", "rust": "rust"}, {None}),
    "photos beside the only folder of a class": (
        ["rust/old/a.jpg", "rust/b.jpg", "healthy/new/c.jpg"], {"healthy": "healthy", "rust": "rust"}, {None},
    ),
    "a name that all classes have within them": (
        several("rust/images", "healthy/images"), {"healthy": "healthy", "rust": "rust"}, {None},
    ),
    "years below train": (
        several("train/2021/rust", "train/2022/rust", "train/2021/healthy", "test/2022/rust", "test/2022/healthy"),
        {"healthy": "healthy", "rust": "rust"},
        {"train", "test"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUTS)
def test_classes_and_parts_are_told_from_folders(tmp_path: Path, kind: str) -> None:
    paths, names, parts = LAYOUTS[kind]
    survey = survey_folder(make_files(tmp_path / "photos", paths))
    assert {label: survey.layout.name_of(label) for label in survey.counts} == names
    assert list(survey.counts) == list(names), "in the order of their names"
    assert {source.part for source in survey.sources} == parts and len(survey.sources) == len(paths)
    assert find_photos(survey.folder, list(survey.counts), survey.layout) == list(survey.sources)


REFUSED: dict[str, tuple[list[str], str]] = {
    "numbered folders in every class": (
        several("rust/p1", "rust/p2", "healthy/p1", "healthy/p2"),
        r"which ones are the classes\? --class-level 1: healthy, rust; --class-level 2: p1, p2",
    ),
    "a folder with one other in each": (
        several("north/rust", "south/spot"),
        r"which ones are the classes\? --class-level 1: north, south; --class-level 2: rust, spot",
    ),
    "a folder with one other in most": (
        several("north/rust", "south/spot", "south/mildew"),
        r"--class-level 1: north, south; --class-level 2: mildew, rust, spot",
    ),
    "folders in folders with one other in each": (
        several("north/rust/wet", "south/spot/dry"),
        r"--class-level 1: north, south; --class-level 2: rust, spot; --class-level 3: dry, wet",
    ),
    "numbered farms with a class each": (
        several("farm1/rust", "farm2/spot"),
        r"--class-level 1: farm1, farm2; --class-level 2: rust, spot",
    ),
    "a folder beside train": (several("train/a", "test/a", "more/a"), "more: a folder beside test/, train/"),
    "a class in parts and one that is not": (
        ["healthy/a.jpg", "healthy/b.jpg", *several("rust/train", "rust/test")],
        r"healthy: 2 photos, and no train/ or test/ as in .*rust; divide them .* of rust together .*--drop healthy",
    ),
    "a class in parts and one in other folders": (
        several("healthy/lab", "rust/train", "rust/test"), "healthy: 2 photos, and no train/ or test/ as in .*rust;",
    ),
    "a year's class in parts and one that is not": (
        ["2021/healthy/a.jpg", *several("2021/rust/train", "2021/rust/test")], "--ignore '2021/healthy'",
    ),
    "train twice": (several("train/a", "Training/a", "test/a"), "need one of each kind"),
    "pieces": (several("part_1", "part_2"), "part_1, part_2 look like pieces of one set"),
    "pieces with the name of their set": (several("HAM_images_part_1", "HAM_images_part_2"), "give a table"),
    "years": (several("2021", "2022"), r"--class-level \(1 if they are the classes\)"),
    "pieces with a class each": (several("batch 1/a", "batch 2/b"), "batch 1, batch 2 look like pieces"),
    "photos in no folder": (["x.jpg", "y.jpg"], "no folders that could be classes; give a table"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_folder_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, kind: str) -> None:
    paths, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        survey_folder(make_files(tmp_path / "photos", paths))


def test_a_class_that_is_not_in_parts_can_be_left_out(tmp_path: Path) -> None:
    paths = ["healthy/a.jpg", *several("rust/train", "rust/test", "spot/train", "spot/test"), "notes/a.txt"]
    folder = make_files(tmp_path / "photos", paths)
    survey = survey_folder(folder, layout=Layout(left_out=["healthy", "notes"]))
    assert survey.counts == {"rust": 2, "spot": 2} and survey.has_test


def test_folders_within_classes_are_told_where_they_could_be_classes(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "photos", several("rust/nikon", "rust/phone", "healthy/lab", "healthy/field"))
    rule = "folders within classes: field, lab, nikon, phone; if these are the classes, give --class-level 2"
    assert rule in survey_folder(folder).notes
    assert survey_folder(folder, class_level=1).notes == ()
    assert survey_folder(make_files(tmp_path / "own", several("rust/p1", "rust/p2", "healthy/p3"))).notes == ()


def test_level_of_classes_can_be_said(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "photos", several("rust/p1", "rust/p2", "healthy/p1"))
    assert list(survey_folder(folder, class_level=1).counts) == ["healthy", "rust"]
    assert list(survey_folder(folder, class_level=2).counts) == ["p1", "p2"]


def test_level_without_folders_is_refused(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "photos", several("a/x", "b/x"))
    with pytest.raises(ValueError, match="--class-level 3: no folders so far down; .* has 2 levels of them"):
        survey_folder(folder, class_level=3)
    assert list(survey_folder(make_files(tmp_path / "own", several("2021", "2022")), class_level=1).counts) == [
        "2021",
        "2022",
    ]


def test_masks_beside_photos_are_named_with_a_pattern(tmp_path: Path) -> None:
    names = ["benign (1).png", "benign (1)_mask.png", "benign (1)_mask_1.png", "benign (2).png", "benign (2)_mask.png"]
    folder = make_files(tmp_path / "photos", [f"{label}/{name}" for label in ("benign", "normal") for name in names])
    with pytest.raises(
        ValueError, match=r"benign \(1\)_mask\.png: looks like a mask of benign \(1\)\.png, as do 6 of 10 "
    ):
        refuse_masks(survey_folder(folder))
    survey = survey_folder(folder, layout=Layout(ignore=["*_mask*"]))
    refuse_masks(survey)
    assert survey.counts == {"benign": 2, "normal": 2}


MASK_FOLDERS = {
    "beside the photos of all classes": ["images/a/x.png", "images/b/y.png", "masks/a/x.png", "masks/b/y.png"],
    "within classes": ["a/images/x.png", "a/Masks/x_mask.png", "b/images/y.png", "b/Masks/y_mask.png"],
    "below the photos": ["a/x.png", "a/GT/x.png", "b/y.png", "b/GT/y.png"],
    "beside one folder": ["images/x.png", "mask/x.png"],
}


@pytest.mark.parametrize("kind", MASK_FOLDERS)
def test_folders_of_masks_are_named_with_a_pattern(tmp_path: Path, kind: str) -> None:
    paths = MASK_FOLDERS[kind]
    folder = make_files(tmp_path / "photos", paths)
    name = next(part for part in Path(paths[-1]).parts if part in ("masks", "Masks", "GT", "mask"))
    with pytest.raises(ValueError, match="looks like a mask of .* leave them out with --ignore ") as error:
        refuse_masks(survey_folder(folder, class_level=1))
    assert f"as do {len(paths) // 2} of {len(paths)} " in str(error.value)
    left = survey_folder(folder, layout=Layout(ignore=[f"{name}", "*_mask*"]))
    refuse_masks(left)
    assert len(left.sources) == len(paths) // 2


def test_people_with_masks_are_no_masks(tmp_path: Path) -> None:
    refuse_masks(survey_folder(make_files(tmp_path, ["mask/1.jpg", "no_mask/1.jpg"])))
    refuse_masks(survey_folder(make_files(tmp_path, ["mask/1.jpg", "Without Mask/1.jpg"])))


def test_words_at_the_end_of_names_are_no_masks(tmp_path: Path) -> None:
    survey = survey_folder(make_files(tmp_path, ["a/leaf.jpg", "a/leaf_2.jpg", "a/leaf left.jpg", "b/mask.jpg"]))
    refuse_masks(survey)
    assert len(survey.sources) == 4


@pytest.mark.parametrize("pattern", ["docs", "docs/*", "*.note.png"])
def test_what_matches_a_pattern_is_left_out(tmp_path: Path, pattern: str) -> None:
    folder = make_files(tmp_path / "photos", [*several("a", "b"), "docs/x.note.png"])
    survey = survey_folder(folder, layout=Layout(ignore=[pattern], left_out=["docs"]))
    assert list(survey.counts) == ["a", "b"]


TABLE = "image,dx,patient_id\nISIC_1,nv,p1\nISIC_2.jpg,mel,p2\nISIC_3,nv,p1\nISIC_4,bcc,\nISIC_9,nv,p9\n"


def label_table(path: Path, **columns: Any) -> LabelTable:
    columns = {"label_column": None, "label_columns": [], "group_column": None} | columns
    return LabelTable(table=path, file_column="image", **columns)


@pytest.fixture
def labels(tmp_path: Path) -> LabelTable:
    (tmp_path / "labels.csv").write_text(TABLE)
    return label_table(tmp_path / "labels.csv", label_column="dx", group_column="patient_id")


@pytest.fixture
def flat(tmp_path: Path, labels: LabelTable) -> Survey:
    folder = make_files(tmp_path / "photos", [f"part_{n // 3}/ISIC_{n}.jpg" for n in range(1, 6)])
    return survey_folder(folder, layout=Layout(labels=labels))


def test_table_names_classes_and_groups_of_a_flat_folder(flat: Survey) -> None:
    found = {source.path.stem: (source.label, source.group) for source in flat.sources}
    assert found == {
        "ISIC_1": ("nv", "p1"), "ISIC_2": ("mel", "p2"), "ISIC_3": ("nv", "p1"), "ISIC_4": ("bcc", None)
    }  # fmt: skip


def test_photos_without_a_row_and_rows_without_a_photo_are_named(flat: Survey) -> None:
    make_files(flat.folder, ["a.txt"])  # a file before the photos is none of them
    said = describe_survey(survey_folder(flat.folder, layout=Layout(labels=flat.layout.labels)), 0.8)
    assert "photos that the table does not name (1): part_1/ISIC_5.jpg" in said
    assert "rows without a photo (1): ISIC_9" in said


def test_one_hot_table_names_the_class_of_its_largest_column(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("\ufeffimage;MEL;NV\na;0.0;1.0\nb;1.0;0.0\nc;0.0;0.0\n", encoding="utf-8")
    labels = label_table(tmp_path / "truth.csv", label_columns=["MEL", "NV"])
    survey = survey_folder(make_files(tmp_path / "photos", ["a.jpg", "b.jpg", "c.jpg"]), layout=Layout(labels=labels))
    assert [(source.path.stem, source.label) for source in survey.sources] == [("a", "nv"), ("b", "mel")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,dx\na,nv\na,mel\nb,nv\nb,bcc\n", r"two classes for a \(nv and mel\), b \(nv and bcc\)"),
        ("image,dx\na,nv\na.jpg,mel\nb,nv\nb,bcc\n", r"two classes for a\.jpg \(mel and nv\), b \(nv and bcc\)"),
        ("file,dx\na,nv\n", "no column image; the columns are file, dx"),
        ("image,dx\n", "no rows"),
        ("image,dx\nz,nv\n", "names no photo .* is --file-column image the column"),
    ],
)
def test_table_that_cannot_be_right_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    labels = label_table(tmp_path / "labels.csv", label_column="dx")
    with pytest.raises(ValueError, match=message):
        survey_folder(make_files(tmp_path / "photos", ["a.jpg", "b.jpg"]), layout=Layout(labels=labels))


def test_table_shows_what_was_understood(tmp_path: Path) -> None:
    folder = make_files(
        tmp_path / "photos", [*several("train/Big One", num=6), *several("train/b", "test/b", "test/Big One")]
    )
    make_files(folder, ["train/b/raw.cr2", "train/b/notes.txt", "old/x.txt"])
    said = describe_survey(survey_folder(folder, layout=Layout(left_out=["old"])), 0.8).replace(str(tmp_path), "")
    assert said.splitlines() == [
        "/photos: 2 classes, test set given",
        "class    folder or label  train  test",
        "b        b                    2     2  rare, lacks 4",
        "big_one  Big One              6     2  the largest",
        "left out: old (--drop)",
        "not photos of these classes: 3 files",
        "in class folders, but no photos: b: 1 .cr2 (pictures that are not read), 1 .txt",
    ]


def test_empty_class_folder_is_counted(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "photos", several("a", "b"))
    (folder / "c").mkdir()
    assert survey_folder(folder).counts == {"a": 2, "b": 2, "c": 0}


def test_image_files_are_real_where_pixels_matter(tmp_path: Path) -> None:
    """A name with brackets and spaces is read like any other."""
    path = tmp_path / "Scans (2) [new]" / "a b" / "x;$(y).png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path)
    assert [
        source.path for source in find_photos(tmp_path / "Scans (2) [new]", ["a_b"], Layout(class_names={"a_b": "a b"}))
    ] == [path]
