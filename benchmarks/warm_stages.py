"""Stages in a folder of their own, started cold or as `sdaug grid` starts them."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sdaug.run.warm import warm_starts

ROOT = Path(__file__).parents[1]


def link_stages(folder: Path) -> None:
    """Let `stages/NAME.py` be found from a folder."""
    for name in ("stages", "src"):
        (folder / name).symlink_to(ROOT / name)


@contextlib.contextmanager
def warm_stages(
    folder: Path, *names: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[dict[str, str]]:
    """A server for these stages, which imports when the first comes; what commands need in their environment."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    scripts = [Path("stages") / f"{name}.py" for name in names]
    with contextlib.chdir(folder), warm_starts(scripts, environment) as warm:
        if not warm:
            sys.exit("warm starts: not on this machine, see sdaug.run.warm")
        yield warm


def warm_command(command: Sequence[str], environment: dict[str, str]) -> list[str]:
    """`PYTHON stages/NAME.py ...` as DVC gives it to its shell."""
    return [environment["SHELL"], "-c", " ".join(["python", *command[1:]])]
