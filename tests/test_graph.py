"""dvc.yaml lists everything that stages read, each path has one producer, and imports between folders are acyclic."""

import ast
import re
import subprocess
import sys
from contextlib import chdir
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from sdaug.run.graph import FURTHER, GRAPH, adopted_graph
from sdaug.run.imports import imports_of, reached_files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sdaug"
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
with chdir(ROOT):  # the stages of the default study, and those that only some arms use
    GRAPH_TEXT = adopted_graph(GRAPH, list(PARAMS["concepts"]), is_phantom=True, is_teats=False, further=FURTHER)
STAGES: dict[str, dict[str, Any]] = yaml.safe_load(GRAPH_TEXT)["stages"]


def resolve(text: str, item: dict[str, str]) -> str:
    def look_up(match: re.Match[str]) -> str:
        value: Any = {**PARAMS, "item": item}
        for key in match[1].split("."):
            value = value[key]
        return str(value)

    return re.sub(r"\$\{([^}]+)\}", look_up, text)


def items_of(stage: dict[str, Any]) -> list[dict[str, str]]:
    matrix = stage.get("matrix", {})
    axes = [[str(value) for value in PARAMS[source[2:-1]]] for source in matrix.values()]
    return [dict(zip(matrix, values, strict=True)) for values in product(*axes)]


def entries(stage: dict[str, Any], *keys: str) -> list[str]:
    listed = [entry for key in keys for entry in stage.get(key, [])]
    return [resolve(next(iter(e)) if isinstance(e, dict) else e, item) for item in items_of(stage) for e in listed]


def git_files(*kinds: str) -> list[str]:
    command = ["git", "ls-files", "--exclude-standard", *(kinds or ("--cached", "--others"))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


OUTS = [out for stage in STAGES.values() for out in entries(stage, "outs", "metrics", "plots")]


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_its_script_and_the_folders_that_it_reaches(name: str) -> None:
    script = ROOT / STAGES[name]["cmd"].split()[1]
    folders = {dep for dep in entries(STAGES[name], "deps") if dep.startswith("src/")}
    reached = {path.relative_to(ROOT) for path in reached_files(script, ROOT / "src")} - {Path("src/sdaug/__init__.py")}
    assert {f"stages/{script.name}", "stages"} & set(entries(STAGES[name], "deps"))
    assert [path for path in reached if not any(path.is_relative_to(folder) for folder in folders)] == []
    needless = [folder for folder in folders if not any(path.is_relative_to(folder) for path in reached)]
    assert needless == [] and len(folders) <= 5


def test_the_package_itself_is_no_more_than_its_docstring() -> None:
    (statement,) = ast.parse((PACKAGE / "__init__.py").read_text()).body  # only `check` depends on this file
    assert isinstance(statement, ast.Expr)


def test_folders_of_the_package_hold_nothing_that_git_does_not_know() -> None:
    kept = set(git_files("--cached"))
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src" / "sdaug").rglob("*") if path.is_file()}
    assert {path for path in found if "__pycache__" not in path} - kept == set()


# The folders of the package, each with the folders that it may import from.
GROUND = {"common": set[str](), "diffusion": {"common"}, "classify": {"common"}}
WINGS = {
    "phantom": {"common"},
    "photos": {"common"},
    "base": {"common", "diffusion"},
    "dreambooth": {"common", "diffusion"},
    "synthesize": {"common", "diffusion"},
    "datasets": {"common"},
    "external": {"common", "photos", "datasets"},
    "filter": {"common", "classify"},
    "train": {"common", "classify"},
    "fidelity": {"common", "diffusion", "classify", "train"},
    "audit": {"common", "classify", "train"},
    "cross_validate": {"common"},
    "verdict": {"common", "classify"},
}
ABOVE = {
    "check": {*GROUND, *WINGS},
    "pretrain": {"common", "diffusion", "phantom"},
    "page": {"common", "diffusion", "classify", "photos", "synthesize", "fidelity", "external"},
    "records": {"common", "base", "dreambooth", "external", "train", "verdict"},
    "run": {*GROUND, *WINGS, "check", "pretrain", "page", "records"},
}
ALLOWED = {**GROUND, **WINGS, **ABOVE}


def test_every_folder_of_the_package_has_its_place() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ALLOWED)


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_one_way(folder: str) -> None:
    modules = {module for path in (PACKAGE / folder).glob("*.py") for module, _ in imports_of(path)}
    imported = {module.split(".")[1] for module in modules if module.startswith("sdaug.")}
    assert imported - {folder} <= ALLOWED[folder]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/params.py")), ids=lambda path: path.parent.name)
def test_sections_are_checked_without_a_slow_import(path: Path) -> None:
    reached = [path, *(file for file in reached_files(path, ROOT / "src") if file.name != "__init__.py")]
    libraries = {module.split(".")[0] for file in reached for module, _ in imports_of(file)} - {"sdaug"}
    assert libraries <= {*sys.stdlib_module_names, "pydantic", "ruamel"}


def test_every_section_stands_in_a_params_module() -> None:
    found = {file for file in PACKAGE.rglob("*.py") if re.search(r"^class \w+Params\b", file.read_text(), re.M)}
    assert {file.relative_to(PACKAGE).as_posix() for file in found if file.name != "params.py"} == {"check/study.py"}


def test_git_ignores_photos_and_keeps_the_files_by_which_dvc_tracks_them() -> None:
    paths = ["data/raw/leaves", "data/raw/leaves/a.jpg", "data/raw/leaves.dvc", "data/photos.dvc"]
    command = ["git", "check-ignore", "--no-index", *paths]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert ignored == paths[:2]


def test_every_path_has_one_maker() -> None:
    assert len(OUTS) == len(set(OUTS))


@pytest.mark.parametrize("name", STAGES)
def test_every_dependency_is_made_by_a_stage_or_kept_in_git(name: str) -> None:
    kept = set(git_files())
    for dep in entries(STAGES[name], "deps"):
        is_made = dep in OUTS or any(out.startswith(f"{dep}/") or dep.startswith(f"{out}/") for out in OUTS)
        is_given = dep == PARAMS["prepare"]["raw"] or dep.endswith(".zip")
        is_kept = dep in kept or any(path.startswith(f"{dep}/") for path in kept)
        assert is_made or is_given or is_kept, f"{name}: {dep}"


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_imports_the_package_of_its_own_checkout(name: str) -> None:
    script = ROOT / STAGES[name]["cmd"].split()[1]
    first = next(node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "import _source"


@pytest.mark.parametrize("name", ["filter", "audit_images", "split", "fidelity", "report"])
def test_synthetic_folders_are_those_of_the_concepts(name: str) -> None:
    wanted = {f"data/synthetic/{label}" for label in PARAMS["concepts"]}
    in_deps = {dep for dep in entries(STAGES[name], "deps") if dep.startswith("data/synthetic/")}
    assert in_deps == wanted
    assert "concepts" in STAGES[name]["params"] or {"params.yaml": None} in STAGES[name]["params"]


def test_what_all_arms_are_runs_again_what_it_can_change() -> None:
    found = {name: [key for key in entries(stage, "params") if key.startswith("arm")] for name, stage in STAGES.items()}
    assert {name: set(keys) for name, keys in found.items() if keys} == {
        "audit": {"arm.training.flip_horizontal"},
        "external": {"arm.images"},
        "split": {"arm.images"},
        "train": {"arm.training"},
    }


def test_a_rule_of_training_leaves_the_filter_and_the_scores_as_they_are() -> None:
    for name in ("filter", "evaluate"):
        assert "src/sdaug/train" not in entries(STAGES[name], "deps")  # which are what it reaches


def test_audited_generators_are_those_of_the_concepts() -> None:
    wanted = {f"models/dreambooth/{label}" for label in PARAMS["concepts"]}
    in_deps = {dep for dep in entries(STAGES["audit_images"], "deps") if dep.startswith("models/dreambooth/")}
    assert in_deps == wanted


@pytest.mark.parametrize(
    ("name", "gate"),
    [("base", "metrics/audit.json"), ("split", "metrics/audit_images.json"), ("holdout", "metrics/audit_images.json")],
)
def test_a_leak_stops_the_run_before_anything_slow_and_before_data_is_packed(name: str, gate: str) -> None:
    assert gate in entries(STAGES[name], "deps")


def test_photos_are_audited_before_any_generator() -> None:
    made = {out for name in ("base", "dreambooth", "synthesize") for out in entries(STAGES[name], "outs")}
    assert made.isdisjoint(entries(STAGES["audit"], "deps"))


def test_the_audit_of_photos_starts_without_a_diffusion_library() -> None:
    assert "src/sdaug/diffusion" not in entries(STAGES["audit"], "deps")  # which are what it reaches


@pytest.mark.parametrize("name", STAGES)
def test_what_dvc_caches_git_ignores(name: str) -> None:
    listed = STAGES[name].get("outs", [])
    is_cached = [isinstance(out, str) or next(iter(out.values())).get("cache", True) for out in listed]
    cached = [out for out, is_kept in zip(listed, is_cached, strict=True) if is_kept]
    for path in entries({**STAGES[name], "outs": cached}, "outs"):
        folder = f"{path}/anything"
        assert subprocess.run(["git", "check-ignore", "-q", folder], cwd=ROOT, check=False).returncode == 0, path


def test_compiled_modules_are_not_hashed() -> None:
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text().splitlines()


def test_there_is_one_gitignore() -> None:
    found = {path for path in git_files() if path.endswith(".gitignore")}
    assert found - {".dvc/.gitignore"} == {".gitignore"}
