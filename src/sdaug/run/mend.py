"""Files of DVC that a killed process has left half-written, mended: it writes them in place, and refuses to read them.

Seen with DVC 3.67.1, in rwlock.py and utils/serialize; `findings/dvc-killed-while-writing.sh` shows both.
"""

import json
import re
import sys
from pathlib import Path

import yaml

from sdaug.common.files import write_text

RWLOCK, LOCK = Path(".dvc/tmp/rwlock"), Path("dvc.lock")
KEPT = Path(".work/dvc.lock")
STAGE = re.compile(r"^  \S+:$", re.MULTILINE)
HEADER = "schema: '2.0'\nstages:\n"


def mend_files(folder: Path) -> bool:
    """Mend what DVC cannot read in a study's folder; whether there was anything.

    Which process reads or writes which path is told by processes that have ended, so that file goes. Of dvc.lock the
    last copy comes back, or its whole stages; the others run again, or come back from DVC's cache.
    """
    mended = [_mend_rwlock(folder / RWLOCK), _mend_lock(folder / LOCK)]
    return any(mended)


def keep_lock(folder: Path) -> None:
    """Keep a copy of a dvc.lock that DVC has just read."""
    path, kept = folder / LOCK, folder / KEPT
    if path.is_file():
        write_text(kept, path.read_text(encoding="utf-8"))


def _mend_rwlock(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:
        path.unlink()
        return _tell(path, "deleted")
    return False


def _mend_lock(path: Path) -> bool:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (not text and not path.is_file()) or _is_lock(text):
        return False
    # The last stage is the one that was being written.
    starts = [match.start() for match in STAGE.finditer(text)]
    whole = text[: starts[-1]] if len(starts) > 1 else ""
    if not (_is_lock(whole) if whole else HEADER.startswith(text[: starts[0]] if starts else text)):
        return False  # something else is wrong with it, such as a merge
    copy = path.parent / KEPT
    kept = copy.read_text(encoding="utf-8") if copy.is_file() else ""
    if len(STAGE.findall(kept)) > len(STAGE.findall(whole)):
        whole = kept
    path.unlink()
    if not whole:
        return _tell(path, "deleted")
    write_text(path, whole)
    return _tell(path, f"{len(STAGE.findall(whole))} stages kept")


def _is_lock(text: str) -> bool:
    """Whether DVC takes this for a dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # slow, and mostly not needed
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, yaml.CSafeLoader))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def _tell(path: Path, what: str) -> bool:
    print(f"{path}: left half-written by a process that was killed; {what}", file=sys.stderr, flush=True)
    return True
