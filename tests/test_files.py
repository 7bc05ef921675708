"""File writing: reproducible bytes and no partial files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sdaug.common.files import fresh_dir, read_csv, read_json, write_csv, write_json
from sdaug.common.images import read_png, save_png


def test_failing_block_leaves_the_old_folder(tmp_path: Path) -> None:
    with fresh_dir(tmp_path / "out") as folder:
        (folder / "old.txt").write_text("old")
    with pytest.raises(RuntimeError, match="boom"), fresh_dir(tmp_path / "out") as folder:
        (folder / "new.txt").write_text("new")
        raise RuntimeError("boom")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old.txt"]


def test_block_that_succeeds_replaces_the_old_folder(tmp_path: Path) -> None:
    for name in ("old.txt", "new.txt"):
        with fresh_dir(tmp_path / "out") as folder:
            (folder / name).touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.txt"]


def test_leftovers_of_a_killed_run_do_not_reach_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half.txt").touch()
    with fresh_dir(tmp_path / "out") as folder:
        assert not list(folder.iterdir())


def test_json_floats_are_rounded_to_six_places(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1 / 3, {"c": 2.00000049}], "a": True, "n": 7})
    assert read_json(tmp_path / "a.json") == {"b": [0.333333, {"c": 2.0}], "a": True, "n": 7}


def test_json_has_one_form_that_ends_with_a_line_feed(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"z": 0.1 + 0.2, "a": None})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "z": 0.3,\n  "a": null\n}\n'


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("inf")})
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_json_list_is_not_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"a\.json: holds a list, need an object"):
        read_json(tmp_path / "a.json")


def test_csv_has_line_feeds_and_rounded_floats(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"x": 1 / 3, "y": "ä,b"}, {"x": 1.0, "y": ""}])
    assert (tmp_path / "a.csv").read_bytes() == 'x,y\n0.333333,"ä,b"\n1.0,\n'.encode()


def test_csv_comes_back_as_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"x": 1, "y": "ä,b"}])
    assert read_csv(tmp_path / "a.csv") == [{"x": "1", "y": "ä,b"}]


def test_csv_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows to write"):
        write_csv(tmp_path / "a.csv", [])


def test_a_picture_that_many_threads_write_at_once_is_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(lambda _: save_png(tmp_path / "a.png", pixels), range(400)):
            pass
    assert np.array_equal(read_png(tmp_path / "a.png"), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
