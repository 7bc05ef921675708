"""What is installed is what the lock says, each licence is listed, and nothing loads what could run code."""

import ast
import re
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = {"pip", "setuptools", "uv", "wheel", "sdaug"}
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").rglob("*.py")])


def plain(name: str) -> str:
    """The name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {plain(name): version for name, version in (line.split("==") for line in lines)}


def test_lock_has_versions_alone_in_order() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line)] == []
    assert list(locked()) == sorted(locked()) and len(locked()) == len(lines)


def test_every_version_of_the_lock_has_hashes() -> None:
    text = (ROOT / "requirements.hashes").read_text()
    entry = re.compile(r"(\S+==\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
    assert "".join(match[0] for match in entry.finditer(text)) == text  # and no address of a registry
    versions = [plain(match[1]) for match in entry.finditer(text)]
    assert versions == [plain(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]


def test_environment_is_that_of_the_lock() -> None:
    installed, wanted = {plain(found.name): found.version for found in distributions()}, locked()
    assert {name: version for name, version in installed.items() if name in wanted or name not in TOOLS} == wanted


def test_lock_holds_whatever_pyproject_asks_for() -> None:
    asked = distribution("sdaug").requires or []
    names = {plain(re.split(r"[ <>=!;\[(]", requirement)[0]) for requirement in asked}
    assert names and names - locked().keys() == set()


def test_licence_of_every_package_is_listed() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)[1:]
    listed = {plain(name): licence for licence, names in rows for name in names.split(", ")}
    assert listed.keys() == locked().keys()
    assert not [name for name, licence in listed.items() if "unknown" in licence.lower()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_that_is_loaded_could_run_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        (alias.name if isinstance(node, ast.Import) else str(node.module)).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} <= {"joblib"}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, given = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in {"eval", "exec", "joblib.load", "yaml.unsafe_load", "yaml.full_load"}
        assert given.get("Loader", "StrictLoader") == "StrictLoader"  # ours, a SafeLoader
        assert name != "torch.load" or given.get("weights_only") == "True"
        assert given.get("allow_pickle", "False") == given.get("trust_remote_code", "False") == "False"
