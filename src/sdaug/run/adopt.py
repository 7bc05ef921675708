"""`sdaug adopt`: turns the checkout into a study of the user's own photos by rewriting params.yaml and dvc.yaml.

DVC cannot build a list of dependencies from params, so the rare classes appear in both files and are written together.
"""

import io
import shutil
import subprocess
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sdaug.common.files import fresh_dir, write_text
from sdaug.common.manifest import missing_counts
from sdaug.photos.archives import archive_stem, is_archive, unpack_photos
from sdaug.photos.folders import (
    Unused,
    class_ids,
    count_ignored,
    find_photos,
    find_unread,
    find_unused,
    folder_names,
    is_utf8,
    only_folder,
    part_folders,
)
from sdaug.photos.formats import describe_unread
from sdaug.photos.teats import GROUP_PATTERN, read_labels

PARAMS, GRAPH, TEATS = Path("params.yaml"), Path("dvc.yaml"), "teats"
PHANTOM_DIR, TEATS_DIR, RAW_DIR = Path("data/phantom"), Path("data/teats"), Path("data/raw")
RARE_BELOW = 0.8  # a class with fewer photos than this share of the largest is rare
# A stage that no other study has; `adopt` copies it to dvc.yaml.
TEATS_STAGE = Path("presets/stages/teats.yaml")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A folder of photos: the training photos of each class, in class order, and what else is there.

    `class_folders` names the folders of classes that are not called as these. `num_validation` counts the photos of a
    given validation set; `unused` and `num_ignored` are what no class has, `unread` says which files of a class are no
    photos.
    """

    folder: Path
    counts: dict[str, int]
    has_test: bool
    class_folders: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    num_validation: int = 0
    num_ignored: int = 0
    unused: tuple[Unused, ...] = ()
    unread: tuple[str, ...] = ()

    def folder_of(self, label: str) -> Path:
        """Where the photos of a class are, for a message."""
        return self.folder / self.class_folders.get(label, label)


@contextmanager
def unpacked(photos: Path, target: Path | None) -> Iterator[Path]:
    """The folder of photos: `photos` itself, or where an archive is unpacked, by default `data/raw/<its name>`.

    What was unpacked is gone again if the block fails.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: it is neither a folder nor an archive, an archive is unsafe, or `target` exists.
    """
    if not photos.is_file():
        if not photos.is_dir():
            raise FileNotFoundError(f"{photos}: no such folder; give a folder with one subfolder of photos per class")
        yield only_folder(photos)
        return
    if not is_archive(photos):
        raise ValueError(f"{photos}: neither a folder nor a zip or tar archive; give one with a folder per class")
    target = target or RAW_DIR / archive_stem(photos)
    if target.exists():
        raise ValueError(f"{target}: exists; adopt that folder, delete it, or give another with --unpack-to")
    with fresh_dir(target) as scratch:
        unpack_photos(photos, scratch)
    try:
        yield only_folder(target)
    except BaseException:
        shutil.rmtree(target)
        raise


def survey_folder(folder: Path, order: Sequence[str] | None = None, left_out: Sequence[str] = ()) -> Survey:
    """The classes and photo counts of a folder of class folders, or of its `train/` if it has `train/` and `test/`.

    `order` lists the folders or ids of the classes in score order; by default they are sorted by name. Those in
    `left_out` are no classes.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: `order` or `left_out` does not match the folders.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder with one subfolder of photos per class")
    # A class may itself be named train or test; then `order` says so.
    roots = part_folders(folder, classes=order or (), left_out=left_out)
    parts = {part: root for root, part in roots}
    root = parts.get("train", roots[0][0])
    there = [name for name in folder_names(root) if is_utf8(name)]
    ids = class_ids(there)
    # Folders may be left out by name or by id, and beside train/ as well.
    known = {**{label: name for name, label in ids.items()}, **dict.fromkeys(there)}
    dropped = [known.get(name) or name for name in left_out]
    for name in dropped:
        if name not in there and name not in folder_names(folder):
            raise ValueError(f"--drop {name}: no such folder; {root} contains {', '.join(there) or '(none)'}")
    found = [name for name in there if name not in dropped]
    ids = class_ids(found)
    names = {label: name for name, label in ids.items()}
    classes = [ids.get(name, name) for name in order or found]
    if sorted(classes) != sorted(names):
        raise ValueError(f"--classes: {', '.join(order or [])}; {root} contains {', '.join(found) or '(none)'}")
    class_folders = {label: names[label] for label in classes if names[label] != label}
    # Only training photos decide which class is rare; without a test set all photos are pooled.
    has_test = {"train", "test"} <= set(parts)
    photos = find_photos(folder, classes, class_folders=class_folders, left_out=dropped)
    counts = dict.fromkeys(classes, 0)
    for photo in photos:
        counts[photo.label] += photo.part in ("train", None) or not has_test
    return Survey(
        folder=folder,
        counts=counts,
        has_test=has_test,
        class_folders=class_folders,
        left_out=tuple(dropped),
        num_validation=sum(photo.part == "val" for photo in photos) if has_test else 0,
        num_ignored=count_ignored(folder, photos),
        unused=tuple(find_unused(folder)),
        unread=tuple(describe_unread(find_unread(folder, classes, class_folders=class_folders, left_out=dropped))),
    )


def survey_teats() -> Survey:
    """The classes and counts of the slides' photos, from the label table in this package."""
    counts = {f"score_{score}": 0 for score in (1, 2, 3, 4)}
    for teat in read_labels():
        counts[f"score_{teat.score}"] += teat.split == "train"
    return Survey(folder=TEATS_DIR, counts=counts, has_test=True)


def rare_classes(survey: Survey, *, rare_below: float = RARE_BELOW) -> dict[str, int]:
    """The number of images by which each rare class falls short of the largest class.

    A class is rare if it has less than `rare_below` times as many photos as the largest.

    Raises:
        ValueError: There are fewer than two classes, a class is empty, or none is rare.
    """
    if len(survey.counts) < 2:
        raise ValueError(f"{survey.folder}: {len(survey.counts)} class folders, need at least 2; use one per class")
    for label, count in survey.counts.items():
        if count == 0:
            raise ValueError(f"{survey.folder_of(label)}: no photos; add some, or leave it out with --drop {label}")
    largest = max(survey.counts.values())
    rare = {
        label: lack
        for label, lack in missing_counts(survey.counts).items()
        if survey.counts[label] < rare_below * largest
    }
    if not rare:
        fewest = min(survey.counts.values())
        raise ValueError(
            f"{survey.folder}: all classes have {fewest} to {largest} photos; nothing to balance with --rare-below "
            f"{rare_below:g}"
        )
    return rare


def generated_classes(survey: Survey, datasets: Mapping[str, Any], *, rare_below: float) -> list[str]:
    """The classes that get a generator: the rare ones, or all of them if an arm has as many images of each class."""
    rare = rare_classes(survey, rare_below=rare_below)
    has_all = any(arm["images"].get("per_class") for arm in datasets.values())
    return list(survey.counts) if has_all else list(rare)


def adopted_params(
    preset: Path, survey: Survey, *, subject: str | None, group_pattern: str | None, rare_below: float = RARE_BELOW
) -> MutableMapping[str, Any]:
    """The preset with its comments, filled in with the classes, prompts and layout of the surveyed folder.

    Raises:
        ValueError: A class has too few photos for the preset, or there is nothing to balance.
    """
    params: MutableMapping[str, Any] = YAML().load(preset.read_text(encoding="utf-8"))
    # Refuses classes that cannot be balanced.
    generated = generated_classes(survey, params["datasets"], rare_below=rare_below)
    # What only the phantom has.
    if survey.folder != PHANTOM_DIR:
        params.pop("phantom", None)
    if "phantom" not in params:
        for name in [name for name, arm in params["datasets"].items() if arm["images"].get("oracle")]:
            del params["datasets"][name]  # only the phantom has more true photos
    # With fewer photos than folds, a fold would have none of the class.
    need = max(params["prepare"]["min_images"], params["prepare"]["num_folds"])
    for label, count in survey.counts.items():
        if count < need:
            raise ValueError(
                f"{survey.folder_of(label)}: {count} photos, need at least {need}; leave the class out with --drop "
                f"{label}, add photos, or lower prepare.min_images and prepare.num_folds in {preset}"
            )
    # Classes and layout of the folder.
    _fill(params["classes"], list(survey.counts))
    params["prepare"]["raw"] = survey.folder.as_posix()
    params["prepare"]["group_pattern"] = group_pattern
    for key, value in (("class_folders", survey.class_folders), ("left_out", list(survey.left_out))):
        params["prepare"].pop(key, None)
        if value:
            params["prepare"][key] = value
    # The slides' own test set is not used: 371 of its 380 photos share an udder photo with a training photo
    # (docs/slides-photos.md).
    params["prepare"]["split"] = "given" if survey.has_test and survey.folder != TEATS_DIR else "made"
    # Prompts; each class with a generator gets the token of its place: zwa for the first class, zwb for the second.
    if subject is not None:
        params["base"]["caption"] = params["class_images"]["prompt"] = f"a photo of a {subject}"
    noun = params["class_images"]["prompt"].removeprefix("a photo of a ")
    params["concepts"].clear()
    for label in generated:
        token = f"zw{chr(ord('a') + list(survey.counts).index(label))}"
        params["concepts"][label] = {"instance_prompt": f"a photo of a {token} {noun}"}
    return params


def adopted_graph(graph: Path, rare: Sequence[str], *, is_phantom: bool, is_teats: bool) -> str:
    """The text of dvc.yaml for these rare classes and this source of photos."""
    yaml = _graph_yaml()
    whole = yaml.load(graph.read_text(encoding="utf-8"))
    stages = whole["stages"]
    # Folders of synthetic images and generators, at the place of those of the old rare classes.
    for name in ("filter", "audit_images", "split", "fidelity", "report"):
        _list_folders(stages[name], "data/synthetic", rare, option="--synthetic")
    _list_folders(stages["audit_images"], "models/dreambooth", rare, option="--generators")
    # Without the phantom, `split` has no oracle photos to draw, and `audit` knows no true scores.
    if not is_phantom:
        stages.pop("phantom", None)
        for name in ("audit", "split"):
            _fill(stages[name]["params"], [key for key in stages[name]["params"] if key != "phantom"])
    # Right after `check`, since dvc.yaml is read from top to bottom.
    if is_teats and TEATS not in stages:
        stages.insert(1, TEATS, yaml.load(TEATS_STAGE.read_text(encoding="utf-8"))[TEATS])
    return _text(yaml, whole)


def refuse_unsaved(files: Sequence[Path]) -> None:
    """Refuse to overwrite uncommitted changes.

    Raises:
        ValueError: A file has uncommitted changes, or this is not a Git checkout.
    """
    state = subprocess.run(
        ["git", "status", "--porcelain", "--", *map(str, files)], capture_output=True, text=True, check=False
    )
    if state.returncode != 0:
        raise ValueError(f"{Path.cwd()}: not a Git checkout of the study; clone it and run `sdaug adopt` in the clone")
    if state.stdout.strip():
        # Two letters of state and a space come before each name.
        changed = ", ".join(line[3:] for line in state.stdout.splitlines())
        raise ValueError(f"{changed}: has uncommitted changes; commit them, or `git restore` the file")


def write_adopted(params: Mapping[str, Any], graph: str) -> None:
    """Write params.yaml and dvc.yaml."""
    # params.yaml is formatted as DVC does it, so that `dvc exp run -S` changes only the lines it sets.
    write_text(PARAMS, _text(YAML(), params))
    write_text(GRAPH, graph)


def _list_folders(stage: MutableMapping[str, Any], root: str, rare: Sequence[str], *, option: str) -> None:
    """Replace a stage's folders of rare classes below `root`: its dependencies, and what follows `option`."""
    folders = [f"{root}/{label}" for label in rare]
    deps = stage["deps"]
    first = next(index for index, dep in enumerate(deps) if dep.startswith(f"{root}/"))
    _fill(deps, [*deps[:first], *folders, *(dep for dep in deps[first:] if not dep.startswith(f"{root}/"))])
    words = [word for word in stage["cmd"].split() if not word.startswith(f"{root}/")]
    words[words.index(option) + 1 : words.index(option) + 1] = folders
    stage["cmd"] = " ".join(words)


def _fill(items: Any, values: Sequence[Any]) -> None:
    """Replace a list's items; a comment that ruamel attached to the last item stays last."""
    trailing = items.ca.items.pop(len(items) - 1, None)
    items[:] = list(values)
    if trailing is not None:
        items.ca.items[len(items) - 1] = trailing


def _graph_yaml() -> YAML:
    """A YAML writer that keeps the formatting of the handwritten dvc.yaml."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _text(yaml: YAML, value: Mapping[str, Any]) -> str:
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def default_group_pattern(survey: Survey) -> str | None:
    """The group pattern of the slides' photos; None for any other photos, whose pattern the user must give."""
    return GROUP_PATTERN if survey.folder == TEATS_DIR else None
