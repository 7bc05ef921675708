"""The table of all images of a study, and a page whose extra is not installed."""

import csv
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from page_studies import HOSTILE, write_page_study

from sdaug.page.image_table import read_images, write_images
from sdaug.page.neighbours import Neighbours
from sdaug.page.orders import Artist
from sdaug.page.study_folder import StudyFolder
from sdaug.run.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    write_page_study(tmp_path)
    return StudyFolder(tmp_path)


def test_table_has_what_each_stage_said_and_survives_what_is_missing(folder: StudyFolder, tmp_path: Path) -> None:
    images = read_images(folder)
    write_images(tmp_path / "images.csv", images)
    with (tmp_path / "images.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 18 and all(Path(row["filepath"]).is_file() for row in rows.values())
    mistake = rows["test03"]
    assert (mistake["label"], mistake["wrong_original"], mistake["runs_original"]) == (HOSTILE, "2", "2")
    assert (mistake["wrong_augmented"], rows["train02"]["num_wrong"]) == ("0", "")
    (listed,) = [row for row in rows.values() if row["nearest_photo"]]
    assert (listed["nearest_photo"], listed["judge_probability"]) == ("train02", "0.25")
    # Every synthetic image has a nearest photo once they are measured.
    full = Neighbours(Artist(folder)).with_nearest(images, lambda _share, _words: None)
    assert sum(entry.nearest is not None for entry in full.entries.values()) == 6
    # Stages that have not run.
    (folder.root / "data" / "filter.csv").unlink()
    shutil.rmtree(folder.metrics)
    shutil.rmtree(folder.synthetic)
    found = read_images(folder)
    assert len(found.entries) == 12 and len(found.remarks) == 2


def test_page_without_gradio_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit, match="gradio is not installed; run `make page`"):
        main(["page", "--port", "0"])
