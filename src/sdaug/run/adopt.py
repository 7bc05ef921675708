"""Turn the checkout into a study of someone's own photos: params.yaml from a preset, and dvc.yaml's lists of classes.

DVC cannot build a list of dependencies from params, so the rare classes stand twice, and are written here together.
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
TEATS_DIR = Path("data/teats")
TEATS_STAGE = Path("presets/stages/teats.yaml")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a folder holds: photos of each class, in order, and whether its test set is given."""

    folder: Path
    counts: dict[str, int]
    has_test: bool


def survey_folder(folder: Path, order: Sequence[str] | None = None) -> Survey:
    """Classes and counts of a folder of class folders, or of its `train/` if it has `train/` and `test/`.

    `order` gives the classes in the order of their scores; else they are sorted by name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder with a folder of photos for each class")
    has_test = all((folder / split).is_dir() for split in SPLITS)
    root = folder / "train" if has_test else folder
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    classes = list(order or found)
    if sorted(classes) != found:
        raise ValueError(f"--classes: {', '.join(classes)}; {root} has the folders {', '.join(found) or '(none)'}")
    for label in classes:
        check_name(label, where=str(root))
    counts = dict.fromkeys(classes, 0)
    for photo in find_photos(folder, classes):
        counts[photo.label] += photo.split != "test"
    return Survey(folder=folder, counts=counts, has_test=has_test)


def survey_teats() -> Survey:
    """The slides' photos, as the project's own table counts them."""
    counts = {f"score_{score}": 0 for score in (1, 2, 3, 4)}
    for teat in read_labels():
        counts[f"score_{teat.score}"] += teat.split == "train"
    return Survey(folder=TEATS_DIR, counts=counts, has_test=True)


def rare_classes(survey: Survey) -> dict[str, int]:
    """How many images each rare class lacks to the largest one."""
    if len(survey.counts) < 2:
        raise ValueError(f"{survey.folder}: {len(survey.counts)} class folders, need at least 2; one folder a class")
    for label, count in survey.counts.items():
        if count == 0:
            raise ValueError(f"{survey.folder / label}: no photos; add some or remove the folder")
    missing = {label: lack for label, lack in missing_counts(survey.counts).items() if lack > 0}
    if not missing:
        raise ValueError(f"{survey.folder}: all classes have {max(survey.counts.values())} photos; nothing to balance")
    return missing


def adopted_params(
    preset: Path, survey: Survey, *, subject: str | None, group_pattern: str | None
) -> MutableMapping[str, Any]:
    """params.yaml: the preset, its comments kept, with the folder's classes, prompts and layout.

    Raises:
        ValueError: the folder has too few photos for the preset.
    """
    params: MutableMapping[str, Any] = YAML().load(preset.read_text(encoding="utf-8"))
    if survey.folder != TEATS_DIR:
        params.pop("phantom", None)
    if "phantom" not in params:
        for name in [name for name, arm in params["datasets"].items() if arm["images"].get("oracle")]:
            del params["datasets"][name]  # only the phantom has further true photos
    fewest = min(survey.counts, key=lambda label: survey.counts[label])
    need = max(params["prepare"]["min_images"], params["prepare"]["num_folds"])
    if survey.counts[fewest] < need:
        raise ValueError(
            f"{survey.folder / fewest}: {survey.counts[fewest]} photos, need at least {need}; add photos, or lower "
            f"prepare.min_images and prepare.num_folds in {preset}"
        )
    _fill(params["classes"], list(survey.counts))
    params["prepare"]["raw"] = survey.folder.as_posix()
    params["prepare"]["group_pattern"] = group_pattern
    params["prepare"]["split"] = "given" if survey.has_test and survey.folder != TEATS_DIR else "made"
    if subject is not None:
        params["base"]["caption"] = params["class_images"]["prompt"] = f"a photo of a {subject}"
    noun = params["class_images"]["prompt"].removeprefix("a photo of a ")
    params["concepts"].clear()
    for label in rare_classes(survey):
        token = f"zw{chr(ord('a') + list(survey.counts).index(label))}"
        params["concepts"][label] = {"instance_prompt": f"a photo of a {token} {noun}"}
    return params


def adopted_graph(graph: Path, rare: Sequence[str], *, is_phantom: bool, is_teats: bool) -> str:
    """The text of dvc.yaml with the rare classes as inputs of those who read them all, and the photos' source."""
    yaml = _graph_yaml()
    whole = yaml.load(graph.read_text(encoding="utf-8"))
    stages = whole["stages"]
    synthetic = [f"data/synthetic/{label}" for label in rare]
    for name in ("split", "fidelity", "report"):
        deps = stages[name]["deps"]
        first = next(index for index, dep in enumerate(deps) if dep.startswith("data/synthetic/"))
        _fill(deps, [*deps[:first], *synthetic, *(d for d in deps[first:] if not d.startswith("data/synthetic/"))])
        stages[name]["cmd"] = _with_synthetic(stages[name]["cmd"], synthetic)
    if not is_phantom:
        stages.pop("phantom", None)
        _fill(stages["split"]["params"], [key for key in stages["split"]["params"] if key != "phantom"])
    if is_teats and TEATS not in stages:
        stages.insert(1, TEATS, yaml.load(TEATS_STAGE.read_text(encoding="utf-8"))[TEATS])
    return _text(yaml, whole)


def refuse_unsaved(files: Sequence[Path]) -> None:
    """Nothing that is not in Git is overwritten."""
    state = subprocess.run(
        ["git", "status", "--porcelain", "--", *map(str, files)], capture_output=True, text=True, check=False
    )
    if state.returncode != 0:
        raise ValueError(f"{Path.cwd()}: not a Git checkout of the study; clone it and run `sdaug adopt` in its folder")
    if state.stdout.strip():
        changed = ", ".join(line[3:] for line in state.stdout.splitlines())
        raise ValueError(f"{changed}: has changes that are not in Git; commit them, or `git restore` the file")


def write_adopted(params: Mapping[str, Any], graph: str) -> None:
    """Write both files, after everything has been checked."""
    # In the style of DVC, so that an experiment changes no line but its own.
    write_text(PARAMS, _text(YAML(), params))
    write_text(GRAPH, graph)


def _with_synthetic(command: str, folders: Sequence[str]) -> str:
    """A stage's command with other folders of synthetic images."""
    words = [word for word in command.split() if not word.startswith("data/synthetic/")]
    words[words.index("--synthetic") + 1 : words.index("--synthetic") + 1] = folders
    return " ".join(words)


def _fill(items: Any, values: Sequence[Any]) -> None:
    """Replace a list's items; the comment behind the last one belongs to what follows, and stays last."""
    trailing = items.ca.items.pop(len(items) - 1, None)
    items[:] = list(values)
    if trailing is not None:
        items.ca.items[len(items) - 1] = trailing


def _graph_yaml() -> YAML:
    """The style of dvc.yaml, which is written by hand."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _text(yaml: YAML, value: Mapping[str, Any]) -> str:
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def default_group_pattern(survey: Survey) -> str | None:
    """The slides' photos have a known one; anyone else's must be told."""
    return GROUP_PATTERN if survey.folder == TEATS_DIR else None
