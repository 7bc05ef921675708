"""The checklist answers from settings and results, and says so where they do not tell."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from studies import AUDIT, BASE, CHECK, PREPARED, inputs_of
from test_results import MODELS, read, write_runs

from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams
from sdaug.verdict.checklist import NOT_STATED, build_checklist
from sdaug.verdict.results import PRIMARY, Study

PHANTOM: dict[str, Any] = {"prepare": {"raw": "data/phantom"}, "phantom": {"label_noise_fraction": 0.05}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("metrics")
    write_runs(root)
    return read(root)


def photo(name: str, *, group: str, is_test: bool) -> Photo:
    return Photo(id=name, label="score_1", group=group, split="test" if is_test else "train", fold=-is_test, sha256="")


def answers(
    study: Study, *, protocol: str = "clean", fold: Any = 0, audit: Any = None, **params: Any
) -> dict[str, str]:
    """The answer to each question, in a study of three photos of which a test photo shares its group."""
    inputs = inputs_of(
        study,
        params={"classifiers": {model: {} for model in MODELS}} | params,
        split=SplitParams(protocol=protocol, fold=fold, validation_fraction=0.2, seed=0),  # type: ignore[arg-type]
        photos=[photo("a", group="1", is_test=False)] + [photo(name, group=name, is_test=True) for name in ("1", "2")],
        prepare=replace(PREPARED, num_broken=4, num_duplicates=3),
        audit=audit or AUDIT,
    )
    return {item.question: item.answer for item in build_checklist(inputs)}


def test_split_by_group_is_claimed_only_with_a_pattern(study: Study) -> None:
    question = "Split by individual"
    assert answers(study, prepare={"group_pattern": "^u"})[question].startswith("Yes, by prepare.group_pattern ^u.")
    assert answers(study, prepare={"group_pattern": None})[question].startswith("No")
    assert answers(study, prepare={"group_pattern": "^u"}, protocol="published")[question].startswith("No")


def test_test_photos_that_share_a_group_with_training_are_counted(study: Study) -> None:
    assert answers(study)["Split by individual"].endswith("share a group with a training photo: 1.")


def test_generators_that_saw_validation_photos_are_named(study: Study) -> None:
    question = "What the generators have seen"
    assert answers(study)[question].startswith("The training photos alone")
    assert "validate included" in answers(study, protocol="published")[question]
    assert "no photo is kept to validate" in answers(study, fold="none")[question]


def test_what_the_base_has_seen_is_told_under_every_protocol(study: Study) -> None:
    for found in (answers(study), answers(study, fold="none"), answers(study, protocol="published")):
        assert found["What the generators have seen"].endswith(BASE.sentence)


def test_origin_of_real_photos_is_not_stated_and_that_of_phantoms_is(study: Study) -> None:
    real, phantom = answers(study, prepare={"raw": "data/mine"}), answers(study, **PHANTOM)
    for question in ("Source of the photos, consent", "Who labelled, and how well"):
        assert NOT_STATED in real[question] and NOT_STATED not in phantom[question]
    assert "5%" in phantom["Who labelled, and how well"]


def test_leaks_and_doubted_labels_are_those_of_the_audit(study: Study) -> None:
    leaky = replace(AUDIT, checks=dict.fromkeys(("groups", "near_copies"), replace(CHECK, verdict="leak")))
    assert answers(study)["Other leaks"].endswith(": 0 leaks, 0 warnings.")
    assert answers(study, audit=leaky)["Other leaks"].endswith(": 2 leaks, 0 warnings.")
    assert answers(study)["Who labelled, and how well"].endswith("The audit doubts 7 of them.")


def test_photos_that_were_left_out_are_counted(study: Study) -> None:
    said = answers(study)["Exclusions and changes to photos"]
    assert said.startswith("Left out: unreadable 4, copies 3, other files 7.") and "square (not stated)" in said


def test_uncertainty_is_claimed_only_where_it_is_known(study: Study) -> None:
    question, size = "Intervals, and what they hold", "Is the study large enough?"
    assert answers(study)[question].startswith("No intervals") and answers(study)[size].startswith("Not known")
    contrast, *_ = study.contrasts
    estimate = replace(contrast.mean[PRIMARY], standard_error=0.02, critical_value=2.086)
    known = replace(study, contrasts=(replace(contrast, mean=contrast.mean | {PRIMARY: estimate}), contrast))
    assert answers(known)[question].startswith("1 of 2 mean differences")
    assert f"effects of {100 * estimate.detectable:.1f} points" in answers(known)[size]
    assert "Not known for 1 further comparison." in answers(known)[size]


def test_pretrained_models_are_named(study: Study) -> None:
    own: dict[str, Any] = {"classifiers": {MODELS[0]: {"pretrained": True}, MODELS[1]: {}}}
    assert f"published weights: {MODELS[0]}." in answers(study, **own)["Models and generators"]
    assert (
        f"published weights: {MODELS[1]}."
        in answers(study, recipe={"pretrained": True}, classifiers={MODELS[0]: {"pretrained": False}, MODELS[1]: {}})[
            "Models and generators"
        ]
    )
    assert "all start from random weights" in answers(study)["Models and generators"]


def test_a_study_without_another_arm_has_a_checklist(tmp_path: Path) -> None:
    write_runs(tmp_path, ["oversampled"])
    found = answers(read(tmp_path, datasets=["oversampled"]))
    assert len(found) == 16 and found["What it is compared with"].startswith("Nothing")
