"""Finds the source files that a stage imports; DVC does not follow imports, so `deps` in dvc.yaml must list them."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def reached_files(script: Path, package_root: Path) -> list[Path]:
    """The files of the package that a script imports, directly or indirectly, sorted.

    `package_root` is the folder that contains the package (`src`).
    """
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for module in _imported_modules(waiting.pop(), package_root):
            if module not in found:
                found.add(module)
                waiting.append(module)
    return sorted(found)


def imported_libraries(scripts: Iterable[Path], package_root: Path) -> set[tuple[str, tuple[str, ...]]]:
    """The modules outside `package_root` that scripts import, directly or indirectly, each with its imported names."""
    files = {file for script in scripts for file in (script, *reached_files(script, package_root))}
    found = {(module, names) for file in files for module, names in imports_of(file)}
    return {(module, names) for module, names in found if not _files_of(module, package_root)}


def _imported_modules(file: Path, package_root: Path) -> set[Path]:
    # What `from package import name` names may be a module; `_files_of` keeps the names that are.
    found = {name for module, names in imports_of(file) for name in (module, *(f"{module}.{name}" for name in names))}
    return {path for name in found for path in _files_of(name, package_root)}


def imports_of(file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each module that a file imports, with the names imported from it."""
    # The whole tree, because some imports stand inside functions.
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        # Level 0: this project has no relative imports.
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, tuple(alias.name for alias in node.names)


def _files_of(name: str, package_root: Path) -> list[Path]:
    """The file of a dotted module, and the `__init__.py` of each package above it."""
    parts = name.split(".")
    # Not ours: the standard library or a dependency.
    if not (package_root / parts[0]).is_dir():
        return []
    path = package_root.joinpath(*parts)
    candidates = [
        path.with_suffix(".py"),
        *(package_root.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)),
    ]
    return [candidate for candidate in candidates if candidate.is_file()]
