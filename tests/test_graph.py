"""dvc.yaml: every stage lists what it reads, and everything it reads is made by one stage."""

import re
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from sdaug.imports import reached_files

ROOT = Path(__file__).parents[1]
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


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


def git_files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


OUTS = [out for stage in STAGES.values() for out in entries(stage, "outs", "metrics", "plots")]


@pytest.mark.parametrize("name", STAGES)
def test_stage_lists_the_code_that_it_reaches(name: str) -> None:
    script = ROOT / STAGES[name]["cmd"].split()[1]
    reached = {path.relative_to(ROOT).as_posix() for path in [script, *reached_files(script, ROOT / "src")]}
    listed = {dep for dep in entries(STAGES[name], "deps") if dep.startswith(("src/", "stages/"))}
    assert {dep for dep in listed if dep.endswith(".py")} == reached


def test_every_path_has_one_maker() -> None:
    assert len(OUTS) == len(set(OUTS))


@pytest.mark.parametrize("name", STAGES)
def test_every_dependency_is_made_by_a_stage_or_kept_in_git(name: str) -> None:
    kept = set(git_files())
    for dep in entries(STAGES[name], "deps"):
        is_made = dep in OUTS or any(out.startswith(f"{dep}/") for out in OUTS)
        is_given = dep == PARAMS["prepare"]["raw"] or dep.endswith(".zip")
        assert is_made or is_given or dep in kept, f"{name}: {dep}"


@pytest.mark.parametrize("name", ["split", "fidelity", "report"])
def test_synthetic_folders_are_those_of_the_concepts(name: str) -> None:
    wanted = {f"data/synthetic/{label}" for label in PARAMS["concepts"]}
    in_deps = {dep for dep in entries(STAGES[name], "deps") if dep.startswith("data/synthetic/")}
    in_command = set(re.findall(r"data/synthetic/\S+", STAGES[name]["cmd"]))
    assert in_deps == in_command == wanted


@pytest.mark.parametrize("name", STAGES)
def test_what_dvc_caches_git_ignores(name: str) -> None:
    cached = [out for out in STAGES[name].get("outs", []) if isinstance(out, str)]
    for path in entries({**STAGES[name], "outs": cached}, "outs"):
        folder = f"{path}/anything"
        assert subprocess.run(["git", "check-ignore", "-q", folder], cwd=ROOT, check=False).returncode == 0, path


def test_compiled_modules_are_not_hashed() -> None:
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text().splitlines()


def test_there_is_one_gitignore() -> None:
    found = {path for path in git_files() if path.endswith(".gitignore")}
    assert found - {".dvc/.gitignore"} == {".gitignore"}
