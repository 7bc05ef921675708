"""What the base has seen is told as far as it is known, and never of a study that is not this one."""

from dataclasses import replace
from pathlib import Path

import pytest
from small import BASE, build_small

from sdaug.common.manifest import Photo
from sdaug.common.provenance import (
    OTHER,
    SEEN,
    UNKNOWN,
    Seen,
    SeenPhoto,
    find_seen,
    read_seen,
    write_record,
    write_seen,
)
from sdaug.diffusion.pipelines import save_pipeline

KNOWN = Seen(summary="9 drawings; none of this study", counts={"drawings": 9}, num_adapted=0)
PHOTOS = [Photo(id=name, label="a", group=name, split="train", fold=1, sha256=name * 2) for name in "xyz"]
RECORD = [SeenPhoto(id=photo.id, sha256=photo.sha256) for photo in PHOTOS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a base that says what it has seen."""
    write_seen(tmp_path / SEEN, KNOWN)
    return tmp_path


@pytest.mark.parametrize("model", ["someone/model", "nowhere/model.safetensors"])
def test_base_that_says_nothing_is_unknown_but_for_what_it_adapted_to(model: str) -> None:
    assert find_seen(model, PHOTOS, []) == UNKNOWN
    assert UNKNOWN.sentence == "What the base has seen: unknown to this project, see its model card."
    assert find_seen(model, PHOTOS, RECORD) == replace(UNKNOWN, num_adapted=3)


def test_loaded_folder_is_taken_at_its_word(folder: Path) -> None:
    assert find_seen(str(folder), PHOTOS, []) == KNOWN


def test_photos_that_a_loaded_base_adapted_to_are_counted(folder: Path) -> None:
    seen = find_seen(str(folder), PHOTOS, RECORD)
    assert seen == replace(KNOWN, num_adapted=3)
    assert seen.sentence == "What the base has seen: 9 drawings; none of this study; then adapted on 3 training photos."


def test_base_of_another_run_of_the_same_study_keeps_its_story(folder: Path) -> None:
    write_seen(folder / SEEN, replace(KNOWN, num_adapted=3))
    write_record(folder, PHOTOS)
    assert find_seen(str(folder), PHOTOS, RECORD) == replace(KNOWN, num_adapted=3)


def test_photos_of_another_study_are_not_called_photos_of_this_one(folder: Path) -> None:
    write_seen(folder / SEEN, Seen(summary="3 photos of a study", counts={"photos": 1}, num_adapted=0))
    write_record(folder, [SeenPhoto(id="w", sha256="ww")])
    assert find_seen(str(folder), PHOTOS, [SeenPhoto(id="w", sha256="ww")]).summary == OTHER


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", r"seen.json: summary: missing; allowed keys: counts, num_adapted, summary"), ("[]", "holds a list")],
)
def test_seen_file_that_cannot_be_read_is_refused_before_anything_is_loaded(
    tmp_path: Path, text: str, message: str
) -> None:
    save_pipeline(build_small(), tmp_path / "base")
    (tmp_path / "base" / SEEN).write_text(text)
    with pytest.raises(ValueError, match=message):
        replace(BASE, model=str(tmp_path / "base"))


def test_missing_seen_file_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"seen.json: missing; run `dvc repro base`"):
        read_seen(tmp_path / SEEN)
