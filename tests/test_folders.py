from pathlib import Path

import pytest

from sdaug.photos.folders import count_ignored, find_photos

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
    assert [source.split for source in find_photos(raw, CLASSES)] == ["test", "test", "train", "train"]


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    raw = touch(tmp_path, "train/a.png", "test/b.png")
    assert [source.split for source in find_photos(raw, ["train", "test"])] == [None, None]


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


def test_a_folder_beside_train_and_test_is_refused(tmp_path: Path) -> None:
    raw = touch(tmp_path, "train/score_1/a.png", "val/score_1/a.png")
    with pytest.raises(ValueError, match="val: a folder beside train/ and test/"):
        find_photos(raw, CLASSES)
