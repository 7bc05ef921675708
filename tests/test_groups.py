"""Groups by pattern, by table and by looks."""

from pathlib import Path

import pytest

from sdaug.common.sections import convert
from sdaug.photos.folders import Source
from sdaug.photos.groups import find_groups, group_sizes, join_groups

RAW = Path("raw")


def source(path: str, *, part: str | None = None, group: str | None = None) -> Source:
    return Source(RAW / path, "rust", convert(part, str | None, ""), group)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "part", "pattern", "group"),
    [
        ("rust/cow1_L.png", None, r"^(cow\d+)_", "cow1"),
        ("rust/cow1_L.png", None, r"^cow\d+", "cow1"),
        ("train/rust/cow1_L.png", "train", r"^(cow\d+)_", "cow1"),
        ("rust/farm 3/leaf 1.png", None, r"^([^/]+)/", "farm 3"),
        ("rust/farm 3/2021/leaf 1.png", None, r"^(.*)/", "farm 3/2021"),
        ("rust/train/cow1_L.png", "train", r"^(cow\d+)_", "cow1"),
    ],
)
def test_a_pattern_is_searched_below_the_class_folder(path: str, part: str | None, pattern: str, group: str) -> None:
    assert find_groups([source(path, part=part)], RAW, pattern=pattern) == [group]


def test_the_class_may_be_a_deeper_folder() -> None:
    assert find_groups([source("2021/rust/cow1_L.png")], RAW, pattern="^(cow[0-9]+)", class_level=2) == ["cow1"]


def test_photos_that_a_pattern_misses_are_counted_and_named() -> None:
    sources = [source(f"rust/{n}.png") for n in range(5)]
    rule = r"finds no group in rust/0.png, rust/1.png, rust/2.png and 2 more photos; edit the pattern .*prepare.groups"
    with pytest.raises(ValueError, match=rule):
        find_groups(sources, RAW, pattern="cow")


def test_a_table_names_photos_by_path_or_by_a_name_that_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("\ufefffile,group,age\nrust/a.png,cow 1,3\nb.png,cow 1,3\nrust\\c.png,,4\n")
    sources = [source("rust/a.png"), source("rust/b.png"), source("rust/c.png")]
    assert find_groups(sources, RAW, table=tmp_path / "groups.csv") == ["cow 1", "cow 1", None]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("file,group\nrust/a.png,1\n", r"no row for spots/a.png; add them by their path below raw"),
        ("file,group\na.png,1\n", r"no row for rust/a.png, spots/a.png;"),
        ("file,group\nrust/a.png,1\nrust/a.png,2\n", r"rust/a.png: in several groups; give each file one"),
        ("file,cow\nrust/a.png,1\n", r"no column group; need file, group; prepare.groups needs a CSV file"),
    ],
)
def test_a_table_that_does_not_say_it_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(ValueError, match=rule):
        find_groups([source("rust/a.png"), source("spots/a.png")], RAW, table=tmp_path / "groups.csv")


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"groups.csv: no such file; set prepare.groups to a CSV file"):
        find_groups([source("rust/a.png")], RAW, table=tmp_path / "groups.csv")


def test_a_labels_table_may_have_told_the_group() -> None:
    assert find_groups([source("a.png", group="p1"), source("b.png")], RAW) == ["p1", None]


def test_sizes_count_photos_alone_as_groups() -> None:
    assert group_sizes(["a", None, "b", "b", None]) == (4, 2, "b")
    assert group_sizes([None, None]) == (2, 1, "")
    assert group_sizes([]) == (0, 0, "")


def test_pairs_join_whole_groups_under_their_smallest_key() -> None:
    keys = ["d", "c", "b", "b", "a", "e"]
    assert join_groups(keys, [(0, 1), (1, 2)]) == ["b", "b", "b", "b", "a", "e"]
    assert join_groups(keys, []) == keys


def test_the_order_of_photos_and_pairs_changes_no_group() -> None:
    keys, pairs = list("fbdaec"), [(0, 1), (2, 3), (3, 0)]
    joined = dict(zip(keys, join_groups(keys, pairs), strict=True))
    turned = join_groups(keys[::-1], [(5 - j, 5 - i) for i, j in pairs[::-1]])
    assert dict(zip(keys[::-1], turned, strict=True)) == joined
