"""What stages ask of another machine, which runs first, and where `sdaug grid` is told to run them."""

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdaug.check.study import StudyParams, check_study
from sdaug.common.sections import read_params
from sdaug.run.grid_command import add_grid, read_place
from sdaug.run.needs import count_cores, list_needs, longest_first, training_photos
from sdaug.run.place import Elsewhere, Place

PARAMS = Path(__file__).parents[1] / "params.yaml"
PHOTOS = {"score_1": 150, "score_2": 164, "score_3": 62, "score_4": 7}


@pytest.fixture(scope="module")
def default() -> StudyParams:
    """The default study."""
    return check_study(read_params(PARAMS), PARAMS)


def place_of(*words: str) -> Place | None:
    """Where `sdaug grid` with these options runs stages."""
    parser = argparse.ArgumentParser()
    add_grid(parser.add_subparsers())
    return read_place(parser.parse_args(["grid", *words]))


def test_generators_share_a_gpu_less_than_classifiers(default: StudyParams) -> None:
    needs = list_needs(default, has_gpus=True, generators_per_gpu=1, trainings_per_gpu=4)
    assert needs["dreambooth"].gpu_share == 1 and needs["train"].gpu_share == 0.25
    assert needs["dreambooth"].memory_bytes > needs["synthesize"].memory_bytes > needs["train"].memory_bytes


def test_images_alone_are_drawn_in_shards(default: StudyParams) -> None:
    study = replace(default, synthesize=replace(default.synthesize, shards=8))
    needs = list_needs(study, has_gpus=True, generators_per_gpu=1, trainings_per_gpu=1)
    assert {name: need.shards for name, need in needs.items() if need.shards > 1} == {"synthesize": 8}


def test_without_a_gpu_stages_take_the_threads_that_they_take_here(
    default: StudyParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    needs = list_needs(default, has_gpus=False, generators_per_gpu=1, trainings_per_gpu=4)
    assert {name: need.cores for name, need in needs.items() if name in ("synthesize", "train", "fidelity")} == {
        "synthesize": 5,
        "train": default.train.num_threads,
        "fidelity": 1,
    }
    assert not any(need.gpu_share for need in needs.values())
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert count_cores() >= 1


def test_what_needs_little_or_holds_locks_of_dvc_stays_here(default: StudyParams) -> None:
    needs = list_needs(default, has_gpus=False, generators_per_gpu=1, trainings_per_gpu=1)
    assert not {"check", "prepare", "split", "cross_validate", "report"} & set(needs)


def test_the_chain_that_takes_longest_comes_first(default: StudyParams) -> None:
    trainings = [["train@custom-original"], ["train@vit-original"], ["train@resnet18-augmented"], ["fidelity"]]
    classifier_bytes = {"resnet18": 44_752_816, "vit": 7_387_152, "custom": 1_515_256}
    sorted_chains = longest_first(trainings, default, classifier_bytes, PHOTOS)
    assert [chain[0] for chain in sorted_chains] == [
        "fidelity",
        "train@resnet18-augmented",
        "train@vit-original",
        "train@custom-original",
    ]
    generators = [["dreambooth@score_1"], ["dreambooth@score_3"], ["dreambooth@score_4"]]
    assert longest_first(generators, default, {}, PHOTOS) == generators[::-1]


def test_photos_are_counted_for_training_alone() -> None:
    assert training_photos({"train.a": 3, "test.a": 9, "duplicates": {}}) == {"a": 3}


def test_stages_run_here_by_default() -> None:
    assert place_of() is None and place_of("--on", "local", "--jobs", "3") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--address", "host:1"], "--address: not for --on local"),
        (["--on", "slurm", "--address", "host:1"], "--address: not for --on slurm"),
        (["--on", "slurm", "--pull"], "--pull: not for --on slurm"),
        (["--same-hardware"], "--same-hardware: not for --on local"),
        (["--on", "ray", "--slurm", "time=3"], "--slurm: not for --on ray"),
        (["--on", "slurm", "--slurm", "time"], "--slurm time; need NAME=VALUE"),
        (["--on", "ray", "--trainings-per-gpu", "0"], "--trainings-per-gpu 0; need 1 or more"),
    ],
)
def test_options_of_another_place_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        place_of(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["--on", "ray", "--same-versions", "--same-hardware", "--pull", "--trainings-per-gpu", "3", "--no-gpu"],
        ["--on", "slurm", "--gpu", "--slurm", "partition=gpu", "--slurm", "time=60"],
    ],
)
def test_folds_run_where_the_study_does(words: list[str]) -> None:
    place = place_of(*words)
    assert place is not None
    address = "127.0.0.1:1" if place.on == "ray" else None
    elsewhere = Elsewhere(
        place=place, engine=SimpleNamespace(address=address), needs={}, jobs_per_gpu=1, environment={}
    )
    assert place_of(*elsewhere.words(4)) == replace(place, address=address)
