import os
from pathlib import Path

import pytest

from sdaug.photos.folder_layout import Layout
from sdaug.photos.folders import class_ids, count_ignored, find_photos, find_unused

CLASSES = ["score_1", "score_2"]


def touch(raw: Path, *names: str) -> Path:
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).touch()
    return raw


def test_photos_are_found_by_suffix_at_any_depth_in_sorted_order(tmp_path: Path) -> None:
    raw = touch(tmp_path, "score_2/b.JPG", "score_2/a.webp", "score_1/cow/z.tif", "score_1/y.bmp")
    names = [(source.path.relative_to(raw).as_posix(), source.label) for source in find_photos(raw, CLASSES)]
    assert names == [
        ("score_1/cow/z.tif", "score_1"),
        ("score_1/y.bmp", "score_1"),
        ("score_2/a.webp", "score_2"),
        ("score_2/b.JPG", "score_2"),
    ]


def test_train_and_test_folders_give_the_split(tmp_path: Path) -> None:
    raw = touch(tmp_path, *(f"{split}/{label}/a.png" for split in ("train", "test") for label in CLASSES))
    assert [source.part for source in find_photos(raw, CLASSES)] == ["test", "test", "train", "train"]


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    raw = touch(tmp_path, "train/a.png", "test/b.png")
    assert [source.part for source in find_photos(raw, ["train", "test"])] == [None, None]


def test_hidden_and_system_files_are_not_even_counted(tmp_path: Path) -> None:
    raw = touch(tmp_path, "score_1/.a.jpg", "score_1/Thumbs.db", "score_2/desktop.ini", ".cache/x.jpg")
    sources = find_photos(raw, CLASSES)
    assert (sources, count_ignored(raw, sources)) == ([], 0)


def test_files_that_are_no_photo_of_a_class_are_counted(tmp_path: Path) -> None:
    raw = touch(tmp_path, "score_1/a.jpg", "score_2/notes.txt", "LICENSE", "loose.jpg")
    assert count_ignored(raw, find_photos(raw, CLASSES)) == 3


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder; set prepare.raw"):
        find_photos(tmp_path / "nowhere", CLASSES)


def test_folders_that_differ_from_the_classes_are_refused(tmp_path: Path) -> None:
    raw = touch(tmp_path, "score_1/a.png", "score_2/a.png")
    rule = r"not in `classes`: score_2; classes without a folder: score_3\); run `sdaug adopt .*` or edit `classes`"
    with pytest.raises(ValueError, match=rule):
        find_photos(raw, ["score_1", "score_3"])


def test_a_folder_beside_train_and_test_is_refused_unless_it_is_left_out(tmp_path: Path) -> None:
    raw = touch(tmp_path, *(f"{part}/{label}/a.png" for part in ("train", "extra") for label in CLASSES))
    with pytest.raises(ValueError, match=r"extra: a folder beside train/; .* prepare.left_out"):
        find_photos(raw, CLASSES)
    assert len(find_photos(raw, CLASSES, Layout(left_out=["extra"]))) == 2


@pytest.mark.parametrize("names", [("Training", "Valid", "Testing"), ("TRAIN", "validation", "test")])
def test_parts_have_many_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    raw = touch(tmp_path, *(f"{part}/{label}/a.png" for part in names for label in CLASSES))
    found = {source.path.relative_to(raw).parts[0]: source.part for source in find_photos(raw, CLASSES)}
    assert found == dict(zip(names, ("train", "val", "test"), strict=True))


def test_two_folders_of_one_part_are_refused(tmp_path: Path) -> None:
    raw = touch(tmp_path, "train/score_1/a.png", "Training/score_1/a.png")
    with pytest.raises(ValueError, match="folders Training, train; need one of each kind"):
        find_photos(raw, CLASSES)


def test_a_class_folder_may_differ_in_case_and_in_the_form_of_accents(tmp_path: Path) -> None:
    raw = touch(tmp_path, "train/Caf\u00e9/a.png", "test/cafe\u0301/b.png", "train/b/a.png", "test/B/b.png")
    found = find_photos(raw, ["cafe", "b"], Layout(class_names={"cafe": "Caf\u00e9"}))
    assert sorted((source.label, source.part) for source in found) == [
        (label, part) for label in ("b", "cafe") for part in ("test", "train")
    ]


def test_classes_may_differ_in_case_only(tmp_path: Path) -> None:
    raw = touch(tmp_path, "Cat/a.png", "cat/b.png")
    ids = class_ids(["Cat", "cat"])
    assert ids == {"Cat": "cat_2", "cat": "cat"}
    found = find_photos(raw, ["cat", "cat_2"], Layout(class_names={"cat_2": "Cat"}))
    assert [(source.path.name, source.label) for source in found] == [("a.png", "cat_2"), ("b.png", "cat")]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Mild Dementia", "mild_dementia"),
        ("no-tumor", "no_tumor"),
        ("Übermaß", "ubermass"),
        ("轻度", "class_1"),
        ("<script>", "script"),
        ("a\nb", "a_b"),
        ("score_1", "score_1"),
        ("7", "7"),
    ],
)
def test_an_id_is_safe_in_a_command_and_a_path(name: str, label: str) -> None:
    assert class_ids([name]) == {name: label}


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "score_1/a.png", "score_2/a.png")
    touch(tmp_path / "else", "b.png")
    (raw / "score_1/link").symlink_to(tmp_path / "else")
    (raw / "score_1/gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(raw / "score_1/pipe.png")
    (raw / "score_2" / os.fsdecode(b"caf\xe9.png")).touch()
    assert [source.path.name for source in find_photos(raw, CLASSES)] == ["a.png", "a.png"]
    assert {item.shown: item.reason.split(";")[0].split(",")[0] for item in find_unused(raw)} == {
        "score_1/gone.png": "a link to nothing",
        "score_1/link": "a link to a folder",
        "score_1/pipe.png": "not a regular file",
        "score_2/caf\\xe9.png": "the name is not UTF-8",
    }


def test_a_class_folder_may_be_a_link_and_so_may_a_photo(tmp_path: Path) -> None:
    touch(tmp_path / "store", "a.png")
    raw = touch(tmp_path / "raw", "score_2/a.png")
    (raw / "score_1").symlink_to(tmp_path / "store")
    (raw / "score_2/b.png").symlink_to(tmp_path / "store/a.png")
    assert len(find_photos(raw, CLASSES)) == 3 and not find_unused(raw)
