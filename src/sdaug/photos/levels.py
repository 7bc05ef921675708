"""Which level of nested folders names the classes, and which photos look like masks of others."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from sdaug.photos.folders import Tree, is_picture, natural_key

NUM_NAMED = 5  # folder names that an error shows of each level
# What people add to the name of a photo for a picture that marks something in it.
MASK_TAIL = re.compile(r"[ _.-]*(mask|seg|segmentation|annotation|groundtruth|gt|overlay|contour)", re.IGNORECASE)


class Mask(NamedTuple):
    """A picture that looks like a mask, the photo beside it, and a pattern for all such."""

    path: Path
    photo: Path
    pattern: str


def choose_class_level(folder: Path, tree: Tree) -> int:
    """How many folders down the classes are, told by names that repeat: `2021/rust` and `2022/rust` have one class.

    Raises:
        ValueError: photos lie in no folder, or the folders could be read in two ways.
    """
    above = [place.folders for place in tree.files if is_picture(place.path)]
    depth = max(map(len, above), default=0)
    if depth == 0:
        raise ValueError(
            f"{folder}: photos, but no folders that could be classes; give a table (--labels labels.csv "
            "--file-column image --label-column class), or put the photos of each class in a folder"
        )
    names = {level: sorted({at[level - 1] for at in above if len(at) >= level}) for level in range(1, depth + 1)}
    first = next((level for level in names if len(names[level]) > 1), depth)
    repeated = [level for level in range(first + 1, depth + 1) if _repeats(above, level)]
    if not repeated:
        return first
    chosen = repeated[-1]
    # Numbered folders in every class may be patients, and so may numbered scores in every year.
    if _numberness(names[chosen]) > _numberness(names[first]):
        shown = "; ".join(f"--class-level {level}: {_shown(names[level])}" for level in range(first, depth + 1))
        raise ValueError(f"{folder}: folders within folders; which ones are the classes? {shown}")
    return chosen


def find_masks(files: Sequence[Path]) -> list[Mask]:
    """The photos that look like masks of others in their folder, such as `x_mask.png` beside `x.png`."""
    stems: dict[PurePath, dict[str, Path]] = defaultdict(dict)
    for path in files:
        stems[path.parent][path.stem] = path
    found = []
    for path in files:
        beside = stems[path.parent]
        for match in MASK_TAIL.finditer(path.stem):
            photo = beside.get(path.stem[: match.start()])
            if photo and photo != path:
                found.append(Mask(path, photo, f"*{match[0]}*"))
                break
    return found


def _repeats(above: Iterable[tuple[str, ...]], level: int) -> bool:
    """Whether most folders of a level are called as others that lie elsewhere."""
    parents: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for at in above:
        if len(at) >= level:
            parents[at[level - 1]].add(at[: level - 1])
    return 2 * sum(len(there) > 1 for there in parents.values()) >= len(parents) > 0


def _numberness(names: Sequence[str]) -> int:
    """2 for numbers and dates, 1 for words that end with a number, else 0."""
    if all(re.fullmatch(r"[\d _.-]+", name) for name in names):
        return 2
    return int(all(re.search(r"\d$", name) for name in names))


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(sorted(names, key=natural_key)[:NUM_NAMED]) + more
