"""Helpers that run stages in a separate folder, started cold or warm as `sdaug grid` starts them."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from sdaug.run.warm import warm_starts

ROOT = Path(__file__).parents[1]


def link_stages(folder: Path) -> None:
    """Link `stages` and `src` into a folder, so that `stages/NAME.py` runs there."""
    for name in ("stages", "src"):
        (folder / name).symlink_to(ROOT / name)


@contextlib.contextmanager
def warm_stages(
    folder: Path, *names: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[dict[str, str]]:
    """The environment variables of a server for these stages, which imports libraries when the first one arrives."""
    # DVC's commands say `python`, which must be this installation.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    scripts = [Path("stages") / f"{name}.py" for name in names]
    # The server looks for stages and `src` in its working directory.
    with contextlib.chdir(folder), warm_starts(scripts, environment) as warm:
        if not warm:
            sys.exit("warm starts are not possible on this machine, see sdaug.run.warm")
        yield warm


def warm_command(command: Sequence[str], environment: dict[str, str]) -> list[str]:
    """The command `PYTHON stages/NAME.py ...` as DVC passes it to its shell."""
    return [environment["SHELL"], "-c", " ".join(["python", *command[1:]])]
