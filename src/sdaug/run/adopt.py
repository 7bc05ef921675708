"""`sdaug adopt`: turns the checkout into a study of the user's own photos by rewriting params.yaml and dvc.yaml.

DVC cannot build a list of dependencies from params, so the rare classes appear in both files and are written together.
"""

import io
import subprocess
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sdaug.common.files import write_text
from sdaug.common.manifest import missing_counts
from sdaug.common.sections import check_name
from sdaug.photos.folders import SPLITS, find_photos
from sdaug.photos.teats import GROUP_PATTERN, read_labels

PARAMS, GRAPH, TEATS = Path("params.yaml"), Path("dvc.yaml"), "teats"
PHANTOM_DIR, TEATS_DIR = Path("data/phantom"), Path("data/teats")
# A stage that no other study has; `adopt` copies it to dvc.yaml.
TEATS_STAGE = Path("presets/stages/teats.yaml")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The number of training photos per class, in class order, and whether the folder has a test set."""

    folder: Path
    counts: dict[str, int]
    has_test: bool


def survey_folder(folder: Path, order: Sequence[str] | None = None) -> Survey:
    """The classes and photo counts of a folder of class folders, or of its `train/` if it has `train/` and `test/`.

    `order` lists the classes in score order; by default they are sorted by name.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: `order` does not match the class folders, or a class name is not allowed.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder with one subfolder of photos per class")
    has_test = all((folder / split).is_dir() for split in SPLITS)
    root = folder / "train" if has_test else folder
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    classes = list(order or found)
    if sorted(classes) != found:
        raise ValueError(f"--classes: {', '.join(classes)}; {root} contains {', '.join(found) or '(none)'}")
    for label in classes:
        check_name(label, where=str(root))
    # Only training photos decide which class is rare.
    counts = dict.fromkeys(classes, 0)
    for photo in find_photos(folder, classes):
        counts[photo.label] += photo.split != "test"
    return Survey(folder=folder, counts=counts, has_test=has_test)


def survey_teats() -> Survey:
    """The classes and counts of the slides' photos, from the label table in this package."""
    counts = {f"score_{score}": 0 for score in (1, 2, 3, 4)}
    for teat in read_labels():
        counts[f"score_{teat.score}"] += teat.split == "train"
    return Survey(folder=TEATS_DIR, counts=counts, has_test=True)


def rare_classes(survey: Survey) -> dict[str, int]:
    """The number of images by which each rare class falls short of the largest class.

    Raises:
        ValueError: There are fewer than two classes, a class is empty, or all classes are the same size.
    """
    if len(survey.counts) < 2:
        raise ValueError(f"{survey.folder}: {len(survey.counts)} class folders, need at least 2; use one per class")
    for label, count in survey.counts.items():
        if count == 0:
            raise ValueError(f"{survey.folder / label}: no photos; add some, or remove the folder")
    missing = {label: lack for label, lack in missing_counts(survey.counts).items() if lack > 0}
    if not missing:
        raise ValueError(f"{survey.folder}: all classes have {max(survey.counts.values())} photos; nothing to balance")
    return missing


def generated_classes(survey: Survey, datasets: Mapping[str, Any]) -> list[str]:
    """The classes that get a generator: the rare ones, or all of them if an arm has as many images of each class."""
    rare = rare_classes(survey)
    has_all = any(arm["images"].get("per_class") for arm in datasets.values())
    return list(survey.counts) if has_all else list(rare)


def adopted_params(
    preset: Path, survey: Survey, *, subject: str | None, group_pattern: str | None
) -> MutableMapping[str, Any]:
    """The preset with its comments, filled in with the classes, prompts and layout of the surveyed folder.

    Raises:
        ValueError: A class has too few photos for the preset, or there is nothing to balance.
    """
    params: MutableMapping[str, Any] = YAML().load(preset.read_text(encoding="utf-8"))
    generated = generated_classes(survey, params["datasets"])  # refuses classes that cannot be balanced
    # What only the phantom has.
    if survey.folder != PHANTOM_DIR:
        params.pop("phantom", None)
    if "phantom" not in params:
        for name in [name for name, arm in params["datasets"].items() if arm["images"].get("oracle")]:
            del params["datasets"][name]  # only the phantom has more true photos
    # With fewer photos than folds, a fold would have none of the class.
    fewest = min(survey.counts, key=lambda label: survey.counts[label])
    need = max(params["prepare"]["min_images"], params["prepare"]["num_folds"])
    if survey.counts[fewest] < need:
        raise ValueError(
            f"{survey.folder / fewest}: {survey.counts[fewest]} photos, need at least {need}; add photos, or lower "
            f"prepare.min_images and prepare.num_folds in {preset}"
        )
    # Classes and layout of the folder.
    _fill(params["classes"], list(survey.counts))
    params["prepare"]["raw"] = survey.folder.as_posix()
    params["prepare"]["group_pattern"] = group_pattern
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
    for name in ("filter", "audit", "split", "fidelity", "report"):
        _list_folders(stages[name], "data/synthetic", rare, option="--synthetic")
    _list_folders(stages["audit"], "models/dreambooth", rare, option="--generators")
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
