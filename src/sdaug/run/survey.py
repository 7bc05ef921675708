"""What `sdaug adopt` understands of a folder of photos: classes, parts, groups, and what is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdaug.photos.folder_layout import Layout
from sdaug.photos.folders import (
    Source,
    Unused,
    class_folder_names,
    class_ids,
    count_ignored,
    find_photos,
    find_unread,
    find_unused,
    natural_key,
)
from sdaug.photos.formats import describe_unread, is_picture
from sdaug.photos.groups import find_groups, group_sizes
from sdaug.photos.label_table import match_rows
from sdaug.photos.levels import choose_class_level, find_masks, name_deeper_folders
from sdaug.photos.params import PrepareParams
from sdaug.photos.tree import Tree, read_tree

NUM_NAMED = 5  # paths that are named of each kind
TRAIN = "train"
PARTS = ("train", "val", "test", None)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A folder of photos: the training photos of each class, in class order, and what else is there.

    `counts` are those of training photos; without a given test set, of all. `notes` say what is not used, and why.
    """

    folder: Path
    counts: dict[str, int]
    has_test: bool
    layout: Layout = field(default_factory=Layout)
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def num_of_part(self) -> Counter[tuple[str | None, str]]:
        """The number of photos by part and class."""
        return Counter((source.part, source.label) for source in self.sources)

    def folder_of(self, label: str) -> Path:
        """Where the photos of a class are, for a message."""
        return self.folder / self.layout.name_of(label)


def survey_folder(
    folder: Path, order: Sequence[str] | None = None, layout: Layout | None = None, *, class_level: int | None = None
) -> Survey:
    """The classes and photo counts of a folder of class folders, with or without `train/` and `test/`, or of a table.

    `order` lists the names or ids of the classes in score order; by default they are sorted by name. `layout` says what
    is left out, and has the table, if any; names and the level of classes are found here.

    Raises:
        FileNotFoundError: the folder or table does not exist.
        ValueError: `order` or what is left out does not match the folder, or it can be read in several ways.
    """
    layout = layout or Layout()
    dropped = list(layout.left_out)
    tree = read_tree(folder, replace(layout, left_out=_folders_at_top(folder, dropped)), order or ())
    asked = None
    if layout.labels is None:
        layout = replace(layout, class_level=class_level or choose_class_level(folder, tree))
        asked = None if class_level else name_deeper_folders(tree, layout.class_level)
    there = _names(folder, tree, layout)
    if class_level and not there:
        depth = max((len(place.folders) for place in tree.folders), default=0)
        raise ValueError(f"--class-level {class_level}: no folders so far down; {folder} has {depth} levels of them")
    layout = replace(layout, left_out=_known_names(folder, dropped, there))
    found = [name for name in there if name not in layout.left_out]
    classes, names = _ordered(folder, order, found)
    layout = replace(layout, class_names={label: name for label, name in names.items() if label != name})
    survey = _count(folder, classes, layout)
    return replace(survey, notes=(*survey.notes, asked)) if asked else survey


def refuse_masks(survey: Survey) -> None:
    """Refuse photos that look like masks of others.

    Raises:
        ValueError: there are such photos; the message offers a pattern.
    """
    masks = find_masks([source.path for source in survey.sources])
    if masks:
        patterns = " ".join(f"--ignore '{pattern}'" for pattern in sorted({mask.pattern for mask in masks}))
        raise ValueError(
            f"{masks[0].path}: looks like a mask of {masks[0].photo.name}, as do {len(masks)} of "
            f"{len(survey.sources)} photos; leave them out with {patterns}, or take them all with --ignore ''"
        )


def _count(folder: Path, classes: Sequence[str], layout: Layout) -> Survey:
    sources = find_photos(folder, classes, layout)
    parts = {source.part for source in sources}
    # Only training photos decide which class is rare; without a test set all photos are pooled.
    has_test = {TRAIN, "test"} <= parts
    counts = dict.fromkeys(classes, 0)
    for source in sources:
        counts[source.label] += source.part == TRAIN or not has_test
    unread = describe_unread(find_unread(folder, classes, layout))
    return Survey(
        folder=folder,
        counts=counts,
        has_test=has_test,
        layout=layout,
        sources=tuple(sources),
        notes=tuple(_notes(folder, sources, layout, unread, find_unused(folder))),
    )


def _notes(
    folder: Path, sources: Sequence[Source], layout: Layout, unread: Sequence[str], unused: Sequence[Unused]
) -> list[str]:
    said = [f"left out: {name} (--drop)" for name in layout.left_out]
    if layout.ignore:
        said.append(f"left out: what matches {', '.join(layout.ignore)} (--ignore)")
    if layout.labels:
        files = [place.path.relative_to(folder) for place in read_tree(folder, layout).files]
        pictures = [path for path in files if is_picture(path)]
        matched = match_rows(layout.labels, pictures)
        without_row = [path.as_posix() for path, row in zip(pictures, matched.rows, strict=True) if row is None]
        said += _named("photos that the table does not name", without_row)
        said += _named("rows without a photo", matched.without_file)
    num_ignored = count_ignored(folder, sources)
    if num_ignored:
        said.append(f"not photos of these classes: {num_ignored} files")
    said += [f"in class folders, but no photos: {line}" for line in unread]
    return said + _named("not read", [f"{item.shown}: {item.reason}" for item in unused])


def _named(title: str, items: Sequence[str]) -> list[str]:
    more = f"; {len(items) - NUM_NAMED} more" if len(items) > NUM_NAMED else ""
    return [f"{title} ({len(items)}): {'; '.join(items[:NUM_NAMED])}{more}"] * bool(items)


def _names(folder: Path, tree: Tree, layout: Layout) -> list[str]:
    """The names of all classes, by the table or by the folders."""
    if layout.labels is None:
        return class_folder_names(tree, layout.class_level)
    pictures = [place.path.relative_to(folder) for place in tree.files if is_picture(place.path)]
    used = {row.name for row in match_rows(layout.labels, pictures).rows if row}
    if not used:
        raise ValueError(
            f"{layout.labels.table}: names no photo below {folder}; is --file-column {layout.labels.file_column} the "
            "column of file names?"
        )
    return sorted(used, key=natural_key)


def _folders_at_top(folder: Path, dropped: Sequence[str]) -> list[str]:
    """Those of `dropped` that are folders beside `train/` and the like, which must be out before parts are told."""
    return [name for name in dropped if (folder / name).is_dir()]


def _known_names(folder: Path, dropped: Sequence[str], there: Sequence[str]) -> list[str]:
    """What is left out by its name; it may be given by its id."""
    name_of = {**{label: name for name, label in class_ids(there).items()}, **{name: name for name in there}}
    for name in dropped:
        if name not in name_of and not (folder / name).is_dir():
            raise ValueError(f"--drop {name}: no such folder; {folder} contains {', '.join(there) or '(none)'}")
    return [name_of.get(name, name) for name in dropped]


def _ordered(folder: Path, order: Sequence[str] | None, found: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The ids of classes in order, and the name of each id."""
    ids = class_ids(found)
    names = {label: name for name, label in ids.items()}
    classes = [ids.get(name, name) for name in order or found]
    if sorted(classes) != sorted(names):
        raise ValueError(f"--classes: {', '.join(order or [])}; {folder} contains {', '.join(found) or '(none)'}")
    return classes, {label: names[label] for label in classes}


def describe_survey(survey: Survey, rare_below: float) -> str:
    """A table of what was understood: the photos of each class by part, and what is left out and why."""
    parts = [part for part in PARTS if any(source.part == part for source in survey.sources)]
    test = "given" if survey.has_test else "to be made"
    shown = [part for part in PARTS if part in parts] or [None]
    header = ("class", "folder or label", *(part or "photos" for part in shown), "")
    largest = max(survey.counts.values(), default=0)
    rows = [header]
    for label, count in survey.counts.items():
        lack = f"lacks {largest - count}"
        kind = "the largest" if count == largest else f"rare, {lack}" if count < rare_below * largest else lack
        numbers = [str(survey.num_of_part[part, label]) for part in shown] if survey.sources else [str(count)]
        rows.append((label, survey.layout.name_of(label), *numbers, kind))
    widths = [max(len(row[n]) for row in rows) for n in range(len(header))]
    lines = [
        "  ".join([*map(str.ljust, row[:2], widths[:2]), *map(str.rjust, row[2:-1], widths[2:-1]), row[-1]]).rstrip()
        for row in rows
    ]
    return "\n".join([f"{survey.folder}: {len(survey.counts)} classes, test set {test}", *lines, *survey.notes])


def describe_groups(survey: Survey, params: PrepareParams) -> str:
    """How many groups the photos are in by pattern or table, and how large the largest is."""
    found = find_groups(
        survey.sources,
        params.raw,
        pattern=params.group_pattern,
        table=params.groups,
        class_level=params.group_level,
    )
    if not any(found):
        return "groups: none known; if several photos show one individual, give --group-pattern or --groups"
    sizes = group_sizes(found)
    return f"groups: {sizes.num_groups}, the largest with {sizes.largest} photos ({sizes.name})"
