"""Benchmarks: each runs in its smallest form, and what they write to results.csv."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import classify
import grid
import growth
import plan
import pytest
import results
import verdict
from results import RESULTS, read_results, unit_of, write_results

import dreambooth
from sdaug.common.params import read_seeds
from sdaug.common.sections import read_section
from sdaug.dreambooth.params import DreamBoothParams
from sdaug.train.params import read_recipe

FOLDER = RESULTS.parent
SMALLEST = {
    "classify": "--models custom --rounds 1 --turn-seconds 0.2 --whole-rounds 0 --images 16 --batch-size 4",
    "dreambooth": "--rounds 1 --turn-seconds 0.2 --batch-sizes 1 --whole-steps 0 --class-images 1 --no-profile",
    "grid": "--models custom --rounds 1 --trainings 1 --jobs 1 --photos 16 --steps 2",
    "growth": "--axis runs --sizes 2",
    "plan": "--studies 5",
    "sharing": "--rounds 1 --seconds 0.2 --work draw --policy passive --busy 1",
    "synthesize": "--rounds 1 --images 2 --batch-size 2 --steps 2",
    "verdict": "--studies 5",
}

# Several processes, each of which imports torch.
SLOW = ("classify", "dreambooth", "grid", "growth", "sharing")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SMALLEST]
)
def test_benchmark_runs_and_writes_no_figures_unasked(name: str) -> None:
    before = RESULTS.read_bytes()
    run = run_benchmark(name, SMALLEST[name])
    assert run and RESULTS.read_bytes() == before


def test_every_benchmark_has_a_smallest_form() -> None:
    assert {path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text()} == SMALLEST.keys()


def run_benchmark(name: str, words: str) -> dict[str, object]:
    """The JSON object that the benchmark ends with."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *words.split()]
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent / "src")}
    done = subprocess.run(command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_commands_of_classify_fit_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = SimpleNamespace(folder=tmp_path, classes=["a", "b"])
    bench = classify.Bench(photos, "resnet50", precision="fp32", batch_size=4)  # type: ignore[arg-type]
    found = parse("train", bench.ours(3, seed=5), monkeypatch)
    recipe = read_recipe(tmp_path / found.params, found.model, found.dataset)
    assert (recipe.epochs, recipe.steps, read_seeds(tmp_path / found.params, found.model)) == (3, None, [5])


def test_commands_of_grid_fit_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    study = grid.make_study(tmp_path, num_photos=None, num_steps=2)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    study.train(("resnet50", 7), {})
    found = parse("train", commands[0], monkeypatch)
    recipe = read_recipe(found.params, found.model, found.dataset)
    assert (recipe.steps, read_seeds(found.params, found.model)) == (2, [7])


def test_commands_of_dreambooth_fit_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = Namespace(share_class_images=False, method="lora", size=None, base="small", class_images=1)
    study = dreambooth.Study(tmp_path, batch_size=1, precision="fp32", args=args)
    found = parse("dreambooth", study.ours("score_3", 4), monkeypatch)
    params = read_section(tmp_path / found.params, "dreambooth", DreamBoothParams)
    assert (found.label, params.method, params.training_steps) == ("score_3", "lora", 4)


def parse(stage: str, command: list[str], monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """The arguments that a stage reads from a benchmark's command."""
    spec = spec_from_file_location(f"stage_{stage}", FOLDER.parent / "stages" / f"{stage}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", command[1:])
    found: Namespace = module.parse_args()
    return found


def test_figures_are_written_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    monkeypatch.setattr(verdict, "DESIGNS", verdict.DESIGNS[:2])
    monkeypatch.setattr(verdict, "write_results", partial(write_results, path=path))
    for option in ([], ["--write"]):
        assert not path.exists()
        monkeypatch.setattr(sys, "argv", ["verdict.py", "--studies", "5", *option])
        verdict.main()
    assert {row.case for row in read_results(path)} == {str(design) for design in verdict.DESIGNS}


def test_committed_cases_of_simulated_studies_are_those_that_are_simulated() -> None:
    cases = {name: {row.case for row in read_results() if row.benchmark == name} for name in ("plan", "verdict")}
    assert cases["verdict"] == {str(design) for design in verdict.DESIGNS}
    simulated = {plan.describe(known, design) for known, design in plan.DESIGNS}
    assert cases["plan"] == simulated | {f"pilots: {num_seeds} draws" for num_seeds in plan.SEEDS}


def test_new_figures_replace_those_of_the_same_case_and_machine(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results("grid", {"two": {"serial_s": 3.0, "serial_ratio": 0.5}}, path, machine="slow")
    write_results("grid", {"two": {"serial_s": 2.0}}, path, machine="slow")
    write_results("grid", {"two": {"serial_s": 1.0}}, path, machine="fast")
    write_results("classify", {"vit": {"step_over_floor": 1.0}}, path, machine="fast")
    found = [(row.benchmark, row.measure, row.value, row.unit, row.machine) for row in read_results(path)]
    assert found == [
        ("classify", "step_over_floor", 1.0, "ratio", "fast"),
        ("grid", "serial_s", 2.0, "s", "slow"),
        ("grid", "serial_ratio", 0.5, "ratio", "slow"),
        ("grid", "serial_s", 1.0, "s", "fast"),
    ]
    assert all(row.commit and row.date for row in read_results(path))


def test_growth_has_the_numbers_that_its_sizes_say() -> None:
    for size in growth.SIZES["images"]:
        shape = growth.of_images(size)
        assert sum(shape.train_counts) == size and shape.num_synthetic == pytest.approx(size, rel=0.04)
    for size in growth.SIZES["classes"]:
        assert len(growth.of_classes(size).train_counts) == size
    for size in growth.SIZES["generators"]:
        counts = growth.of_generators(size).train_counts
        assert sum(count < max(counts) for count in counts) == size
    for size in (2, 12, *growth.SIZES["runs"]):
        assert growth.of_runs(size).num_runs == size
    with pytest.raises(ValueError, match="--sizes 7"):
        growth.of_runs(7)


def test_exponents_of_growth_are_slopes_of_logs() -> None:
    sizes = (10, 20, 80)
    found = [{"linear_s": 3.0 * size, "square_s": 0.5 * size**2, "same_mib": 7.0, "none": 0.0} for size in sizes]
    exponents = growth.fit_exponents(sizes, found)
    assert exponents == pytest.approx({"linear_s": 1, "square_s": 2, "same_mib": 0})
    assert "2.00" in growth.table_of("runs", sizes, found, exponents)
    assert growth.fit_exponents([10], found[:1]) == {}


def test_a_row_names_processor_and_cores() -> None:
    assert results.name_machine().split(", ")[1].endswith(" cores")


def test_committed_figures_have_one_row_each_and_units_by_name() -> None:
    rows = read_results()
    assert rows and len({row.key for row in rows}) == len(rows)
    assert [row for row in rows if row.unit != unit_of(row.measure)] == []
