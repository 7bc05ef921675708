"""The order of stages in dvc.lock, which DVC writes down as they end: several at once end in any order."""

import re
from collections.abc import Sequence
from pathlib import Path

LOCK = Path("dvc.lock")


def locked_stages(lock: Path) -> list[str]:
    """The names of the stages in dvc.lock, in order."""
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    return re.findall(r"^  (\S+):$", text, re.MULTILINE)


def sort_lock(lock: Path, listed: Sequence[str], stages: Sequence[str]) -> None:
    """Have those stay in order that were `listed` before the run, then the new ones in the order of `stages`."""
    place = {name: index for index, name in enumerate(dict.fromkeys([*listed, *stages]))}
    names = locked_stages(lock)
    order = sorted(names, key=lambda name: place.get(name, len(place)))
    if order == names:
        return
    from dvc.repo import Repo, lock_repo  # slow, and mostly not needed
    from dvc.utils.serialize import modify_yaml

    with lock_repo(Repo(str(lock.parent), _wait_for_lock=True)), modify_yaml(str(lock)) as data:
        found = data["stages"]
        for name in order:
            found[name] = found.pop(name)
