"""A study on several folds: each is a copy of the study with another fold, and their scores meet in one verdict."""

import json
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from line import edit_params, run
from test_results import CLASSES, DATASETS, MODELS, SEEDS, write_runs

from sdaug.cross_validate import fold_study
from sdaug.cross_validate.fold_study import copy_study, link_photos, run_fold, set_fold
from sdaug.verdict.results import Study, read_study


def read_folds(folder: Path) -> Study:
    """The study of test_results on three folds, of which the last one has a run that differs."""
    for fold in range(3):
        write_runs(folder / str(fold))
    for metrics in ("evaluate", "predictions"):
        here = folder / "2" / metrics
        shutil.rmtree(here / "tiny-augmented")
        shutil.copytree(here / "tiny-original", here / "tiny-augmented")
    return read_study(
        folder / "0",
        classes=CLASSES,
        seeds=dict.fromkeys(MODELS, SEEDS),
        datasets=DATASETS,
        remedies=["original"],
        folds={fold: folder / str(fold) for fold in range(3)},
        num_folds=3,
    )


def test_scores_are_means_over_folds(tmp_path: Path) -> None:
    study = read_folds(tmp_path)
    alone = read_study(
        tmp_path / "0",
        classes=CLASSES,
        seeds=dict.fromkeys(MODELS, SEEDS),
        datasets=DATASETS,
        remedies=["original"],
    )
    same, changed = ("resnet18", "augmented"), ("tiny", "augmented")
    assert study.folds == (0, 1, 2) and len(study.results[same].runs) == 3 * len(SEEDS)
    assert study.results[same].scores == pytest.approx(alone.results[same].scores)
    score = "test_accuracy"
    of_original = alone.results["tiny", "original"].scores[score]
    expected = (2 * alone.results[changed].scores[score] + of_original) / 3
    assert study.results[changed].scores[score] == pytest.approx(expected)
    contrast = study.contrasts[0]
    gains = [study.results[model, "augmented"].scores[score] - study.results[model, "original"].scores[score]
             for model in study.pooled]  # fmt: skip
    assert contrast.mean[score].value == pytest.approx(sum(gains) / len(gains), abs=1e-6)
    assert contrast.mean[score].is_known  # three folds tell how folds differ, whatever the number of runs in each


def test_the_stage_keeps_the_scores_of_each_fold(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cross_validate

    def finished(_: Path, fold: int, work: Path, *__: object) -> Path:
        for name in ("train", "history", "evaluate", "predictions", "further"):
            (work / "metrics" / name).mkdir(parents=True)
            (work / "metrics" / name / "0.json").write_text(f"{fold}")
        return work / "metrics"

    monkeypatch.setattr(fold_study, "run_fold", finished)
    monkeypatch.setattr("sys.argv", ["cross_validate.py", "--work", ".work", "--out", "metrics/cross_validate"])
    monkeypatch.chdir(small)
    cross_validate.main()
    found = {str(path.relative_to("metrics/cross_validate")): path.read_text()
             for path in Path("metrics/cross_validate").rglob("*.json")}  # fmt: skip
    assert found == {f"{fold}/{name}/0.json": fold for fold in ("1", "2")
                     for name in ("train", "history", "evaluate", "predictions")}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with a few files of a study, photos beside it."""
    study = tmp_path / "study"
    for name, text in {
        "params.yaml": "split: # which photos train\n  fold: 0\ncross_validate:\n  folds: [1, 2]\n"
        "prepare:\n  raw: ../photos\n",
        "dvc.lock": "schema: '2.0'\n",
        "dvc.yaml": "stages: {}\n",
        "src/sdaug/one.py": "",
        "stages/two.py": "",
        "metrics/prepare.json": "{}",
        "docs/long.md": "",
        ".gitignore": "/.work/\n",
    }.items():
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).write_text(text)
    (tmp_path / "photos").mkdir()
    run(study, "git", "init", "-q")
    run(study, "dvc", "init", "-q", "--force")
    run(study, "git", "add", ".")
    return study


def test_a_copy_has_what_git_knows_and_the_cache_of_the_study(small: Path) -> None:
    work = small / ".work" / "1"
    copy_study(small, work)
    assert (work / "stages" / "two.py").is_file() and not (work / "docs").exists()
    assert run(work, "dvc", "cache", "dir").strip() == run(small, "dvc", "cache", "dir").strip()
    # The copy's own results stay, code that is gone goes.
    (work / "dvc.lock").write_text("own")
    (work / "metrics" / "prepare.json").write_text("own")
    (small / "stages" / "two.py").rename(small / "stages" / "three.py")
    copy_study(small, work)
    assert (work / "dvc.lock").read_text() == (work / "metrics" / "prepare.json").read_text() == "own"
    assert [path.name for path in (work / "stages").iterdir()] == ["three.py"]


def test_a_copy_has_one_fold_and_keeps_comments(small: Path) -> None:
    set_fold(small / "params.yaml", 2)
    assert "# which photos train" in (small / "params.yaml").read_text()
    params = yaml.safe_load((small / "params.yaml").read_text())
    assert params["split"]["fold"] == 2 and params["cross_validate"]["folds"] == []


def test_a_copy_finds_photos_beside_the_study(small: Path) -> None:
    work = small / ".work" / "1"
    copy_study(small, work)
    link_photos(small, work)
    link_photos(small, work)  # a second time, as when a run goes on
    assert (work / "../photos").resolve() == (small / "../photos").resolve()


def test_a_study_that_git_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a git repository.*run `git init`"):
        copy_study(tmp_path, tmp_path / "work")


def test_a_fold_that_fails_names_its_folder(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = small / ".work" / "1"

    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(ValueError, match=r"cross_validate.folds: 1: its study failed, see above; its folder is"):
        run_fold(small, 1, work, [], set())


@pytest.mark.parametrize(("options", "at_once"), [("--jobs 2", 1), ("--on ray --address a:1", 3)])
def test_folds_run_at_once_on_other_machines_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, at_once: int
) -> None:
    together = threading.Barrier(at_once)

    def meet(_: Path, fold: int, work: Path, said: list[str], __: object) -> Path:
        together.wait(30)
        assert said == options.split() and work == tmp_path / str(fold)
        return work

    monkeypatch.setenv(fold_study.GRID, options)
    monkeypatch.setattr(fold_study, "run_fold", meet)
    assert list(fold_study.run_folds(tmp_path, [2, 1, 3], tmp_path)) == [2, 1, 3]


@pytest.mark.parametrize(("options", "begun"), [("--jobs 2", [1]), ("--on ray", [1, 2, 3])])
def test_a_fold_that_fails_leaves_those_at_work_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, begun: list[int]
) -> None:
    seen = []

    def fail(_: Path, fold: int, work: Path, *__: object) -> Path:
        seen.append(fold)
        if fold == 1:
            raise ValueError("the loss is nan")
        return work

    monkeypatch.setenv(fold_study.GRID, options)
    monkeypatch.setattr(fold_study, "run_fold", fail)
    with pytest.raises(ValueError, match="the loss is nan"):
        fold_study.run_folds(tmp_path, [1, 2, 3], tmp_path)
    assert sorted(seen)[: len(begun)] == begun


def test_folds_end_with_the_stage(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(small / "stay"))
    (small / "stay").write_text("#!/bin/sh\nexec sleep 300\n")
    (small / "stay").chmod(0o755)

    def interrupt(*_: object, **__: object) -> None:
        while not (small / ".work" / "1" / "params.yaml").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(fold_study, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fold_study.run_folds(small, [1], small / ".work")


@pytest.mark.slow  # two more runs of the whole line: minutes
@pytest.mark.xdist_group("line")
def test_further_folds_have_models_of_their_own_and_enter_the_verdict(clean: Path) -> None:
    params = yaml.safe_load((clean / "params.yaml").read_text())
    edit_params(
        clean,
        cross_validate__folds=[1, 2],
        seeds=[0],
        generator_seeds=[0],
        classifiers={"custom": params["classifiers"]["custom"]},
    )
    run(clean, "sdaug", "grid", "--jobs", "2")
    found = {fold: clean / "metrics" / "cross_validate" / fold / "predictions" for fold in ("1", "2")}
    texts = [
        (folder / "custom-original" / "0.csv").read_text()
        for folder in (clean / "metrics/predictions", *found.values())
    ]
    assert len(set(texts)) == 3
    limits = (clean / "report" / "verdict.md").read_text()
    assert "Everything was run on 3 folds" in limits and "All results come from one split" not in limits
    assert "low" in json.loads((clean / "metrics/summary.json").read_text())["difference"]["augmented"][
        "against_original"]["test_accuracy"]  # fmt: skip
    # Nothing is left to do, here and in the folds; results come back from the cache without their folders.
    assert "up to date" in run(clean, "dvc", "repro")
    shutil.rmtree(clean / ".work")
    assert "up to date" in run(clean, "dvc", "repro")
