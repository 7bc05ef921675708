"""DVC's hashes of what stages read and wrote, from dvc.lock."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sdaug.common.sections import read_params


def read_lock(lock: Path) -> Mapping[str, Mapping[str, Any]]:
    """The entries of dvc.lock by stage; none if the study was never run by DVC."""
    return (read_params(lock).get("stages") or {}) if lock.is_file() else {}


def hashes_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The hash of all that these stages read and wrote, by its path."""
    # Outputs last: what read them may be out of date.
    found = [item for kind in ("deps", "outs") for entry in entries for item in entry.get(kind, [])]
    return {item["path"]: item["md5"] for item in found if "md5" in item}


def tracked_path(path: Path, hashes: Mapping[str, str]) -> str | None:
    """The path that has a hash: the given one, or the nearest folder that holds it; None if there is none."""
    return next((p.as_posix() for p in (path, *path.parents) if p.as_posix() in hashes), None)
