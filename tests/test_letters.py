"""What the report reads of other stages: all that they write, and a line for what is missing."""

from pathlib import Path

import pytest
from studies import AUDIT, IMAGE_AUDIT, PREPARED, fidelity, filtered, write_letter

from sdaug.common.files import read_json, write_json
from sdaug.verdict.letters import Audit, Fidelity, ImageAudit, Letter, Prepared

COMMITTED = Path(__file__).parents[1] / "metrics"


@pytest.mark.parametrize("kind", [Prepared, Audit, ImageAudit, Fidelity])
def test_letters_hold_all_that_the_stages_of_the_default_study_wrote(kind: type[Letter]) -> None:
    written = read_json(COMMITTED / f"{kind.stage}.json")
    found = kind.read(COMMITTED).as_json()
    assert found == written and list(found) == list(written)


@pytest.mark.parametrize("letter", [PREPARED, AUDIT, IMAGE_AUDIT, fidelity(), filtered()], ids=lambda one: one.stage)
def test_letter_comes_back_as_it_was_written(tmp_path: Path, letter: Letter) -> None:
    write_letter(tmp_path, letter)
    assert type(letter).read(tmp_path) == letter


@pytest.mark.parametrize(
    ("letter", "key"),
    [
        (PREPARED, "num_ignored"),
        (AUDIT, "checks.groups.ids"),
        (AUDIT, "label_errors.compared"),
        (IMAGE_AUDIT, "num_synthetic"),
        (fidelity(), "classes.score_3.judge.share.before"),
        (filtered(), "classes.score_1.probability.half"),
    ],
)
def test_missing_key_is_named_with_the_stage_that_writes_it(tmp_path: Path, letter: Letter, key: str) -> None:
    write_letter(tmp_path, letter)
    path = tmp_path / f"{letter.stage}.json"
    values = part = read_json(path)
    *parents, last = key.split(".")
    for name in parents:
        part = part[name]
    del part[last]
    write_json(path, values)
    with pytest.raises(ValueError) as error:
        type(letter).read(tmp_path)
    assert str(error.value) == f"{path}: {key}: missing; run `dvc repro {letter.stage}`"


def test_key_that_the_stage_does_not_write_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "prepare.json", PREPARED.as_json() | {"num_skipped": 7})
    with pytest.raises(
        ValueError, match=r"prepare.json: num_skipped: unknown key \(value 7\); run `dvc repro prepare`"
    ):
        Prepared.read(tmp_path)


def test_value_of_another_type_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "prepare.json", PREPARED.as_json() | {"test.score_1": "8"})
    with pytest.raises(ValueError, match=r"num_photos.test.score_1: '8' is a string, need a whole number; run `dvc"):
        Prepared.read(tmp_path)
