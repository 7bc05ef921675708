"""The group of each photo: what its path or a table says of it, and which photos look alike."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sdaug.common.files import read_csv
from sdaug.photos.folders import Source

TABLE = "prepare.groups needs a CSV file with the columns file and group"
NUM_NAMED = 3  # photos in an error message that could list hundreds


class GroupSizes(NamedTuple):
    """How many groups there are, how many photos the largest has, and what it is called."""

    num_groups: int
    largest: int
    name: str


def find_groups(
    sources: Sequence[Source], raw: Path, *, pattern: str | None = None, table: Path | None = None, class_level: int = 1
) -> list[str | None]:
    """The group that each photo is said to be of, None for a photo alone: by a table, a labels table or a pattern.

    `pattern` is searched in the path below the class folder, which is `class_level` folders below `raw`, or below
    its `train/` and the like; its first capture group is the photo's group, or the whole match if it has none.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the table or the pattern leaves photos without a group.
    """
    if table is not None:
        return _groups_of_table(sources, raw, table)
    if pattern is None or any(source.group for source in sources):
        return [source.group for source in sources]
    found = [match_group(path_below_class(source, raw, class_level=class_level), pattern) for source in sources]
    missed = [source for source, group in zip(sources, found, strict=True) if group is None]
    if missed:
        raise ValueError(
            f"{raw}: prepare.group_pattern {pattern!r} finds no group in {_named(missed, raw)}; edit the pattern (it "
            "is searched in the path below the class folder), or give a table of groups (prepare.groups)"
        )
    return list(found)


def match_group(path: PurePosixPath, pattern: str) -> str | None:
    """The group in a path below a class folder: the pattern's first capture group, or its whole match."""
    match = re.search(pattern, path.as_posix())
    return (match[min(1, match.re.groups)] if match else None) or None


def path_below_class(source: Source, raw: Path, *, class_level: int = 1) -> PurePosixPath:
    """The path of a photo below its class folder, with slashes on every system; at least its file name."""
    parts = source.path.relative_to(raw).parts
    depth = class_level + (source.part is not None)
    return PurePosixPath(*(parts[depth:] or parts[-1:]))


def group_sizes(groups: Iterable[str | None]) -> GroupSizes:
    """Number and largest size of groups; a photo alone is a group."""
    counts = Counter(groups)
    num_alone = counts.pop(None, 0)
    name, largest = max(counts.items(), key=lambda item: (item[1], item[0]), default=("", min(1, num_alone)))
    return GroupSizes(num_groups=len(counts) + num_alone, largest=largest, name=name or "")


def join_groups(keys: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """The key of each photo's group once the photos of each pair, and all photos with one key, are in one group.

    The key of a joined group is the smallest of its members' keys, in the order of text. So a further photo changes
    the key of a group only if it joins that group: as a look-alike whose own key is smaller, or as one between two
    groups that were apart.
    """
    # Union-find, the smaller key being the root.
    root = {key: key for key in keys}

    def find(key: str) -> str:
        while root[key] != key:
            root[key] = key = root[root[key]]
        return key

    for i, j in pairs:
        one, other = sorted((find(keys[i]), find(keys[j])))
        root[other] = one
    return [find(key) for key in keys]


def _groups_of_table(sources: Sequence[Source], raw: Path, table: Path) -> list[str | None]:
    """The groups in a CSV file with columns `file` (path below `raw`, or a name that is there once) and `group`."""
    if not table.is_file():
        raise FileNotFoundError(f"{table}: no such file; set prepare.groups to a CSV file with columns file and group")
    said: dict[str, set[str]] = defaultdict(set)
    for row in read_csv(table, columns=("file", "group"), remedy=TABLE):
        said[PurePosixPath(row["file"].replace("\\", "/")).as_posix()].add(row["group"])
    twice = [file for file, groups in said.items() if len(groups) > 1]
    if twice:
        raise ValueError(f"{table}: {', '.join(twice[:NUM_NAMED])}: in several groups; give each file one")
    paths = [source.path.relative_to(raw).as_posix() for source in sources]
    num_of_name = Counter(source.path.name for source in sources)
    found, missed = list[str | None](), list[Source]()
    for source, path in zip(sources, paths, strict=True):
        name = source.path.name
        groups = said.get(path) or (said.get(name) if num_of_name[name] == 1 else None)
        if groups is None:
            missed.append(source)
        found.append(next(iter(groups or ()), "") or None)
    if missed:
        raise ValueError(
            f"{table}: no row for {_named(missed, raw)}; add them by their path below {raw} (an empty group for a "
            "photo alone)"
        )
    return found


def _named(sources: Sequence[Source], raw: Path) -> str:
    paths = [source.path.relative_to(raw).as_posix() for source in sources]
    more = f" and {len(paths) - NUM_NAMED} more photos" if len(paths) > NUM_NAMED else ""
    return ", ".join(paths[:NUM_NAMED]) + more
