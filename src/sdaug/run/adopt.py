"""`sdaug adopt`: turns the checkout into a study of the user's own photos by rewriting params.yaml and dvc.yaml."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sdaug.common.files import fresh_dir, write_text
from sdaug.common.manifest import missing_counts
from sdaug.common.params import Arm, merge_arm
from sdaug.photos.archives import archive_stem, is_archive, unpack_photos
from sdaug.photos.folders import only_folder
from sdaug.photos.teats import GROUP_PATTERN, read_labels
from sdaug.run.graph import GRAPH, PARAMS, fill_list, yaml_text
from sdaug.run.survey import Survey
from sdaug.run.words import photo_of, token_of

PHANTOM_DIR, TEATS_DIR, RAW_DIR = Path("data/phantom"), Path("data/teats"), Path("data/raw")
IGNORED = Path(".gitignore")
RARE_BELOW = 0.8  # a class with fewer photos than this share of the largest is rare


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


def survey_teats() -> Survey:
    """The classes and counts of the slides' photos, from the label table in this package."""
    counts = {f"score_{score}": 0 for score in (1, 2, 3, 4)}
    for teat in read_labels():
        counts[f"score_{teat.score}"] += teat.split == "train"
    return Survey(folder=TEATS_DIR, counts=counts, has_test=True)


def rare_classes(survey: Survey, *, rare_below: float = RARE_BELOW) -> dict[str, int]:
    """The number of images by which each rare class falls short of the largest class.

    A class is rare if it has less than `rare_below` times as many photos as the largest.
    """
    largest = max(survey.counts.values())
    lacking = missing_counts(survey.counts)
    return {label: lack for label, lack in lacking.items() if survey.counts[label] < rare_below * largest}


def generated_classes(survey: Survey, arms: Mapping[str, Arm], *, rare_below: float) -> list[str]:
    """The classes that get a generator: the rare ones, or all of them if an arm has as many images of each class.

    Raises:
        ValueError: there are fewer than two classes, a class is empty, or none is rare and an arm needs that.
    """
    if len(survey.counts) < 2:
        raise ValueError(f"{survey.folder}: {len(survey.counts)} class folders, need at least 2; use one per class")
    for label, count in survey.counts.items():
        if count == 0:
            raise ValueError(f"{survey.folder_of(label)}: no photos; add some, or leave it out with --drop {label}")
    if any(arm["images"]["per_class"] for arm in arms.values()):
        return list(survey.counts)
    rare = list(rare_classes(survey, rare_below=rare_below))
    if not rare:
        fewest, largest = min(survey.counts.values()), max(survey.counts.values())
        span = f"{largest}" if fewest == largest else f"{fewest} to {largest}"
        raise ValueError(
            f"{survey.folder}: all classes have {span} photos; nothing to balance with --rare-below "
            f"{rare_below:g}; raise it, or take --preset arms, which draws as many images of every class"
        )
    return rare


def adopted_params(
    preset: Path,
    survey: Survey,
    *,
    subject: str | None,
    group_pattern: str | None,
    groups: Path | None = None,
    rare_below: float = RARE_BELOW,
    flip: bool = True,
) -> MutableMapping[str, Any]:
    """The preset with its comments, filled in with the classes, prompts and layout of the surveyed folder.

    Raises:
        ValueError: a class has too few photos for the preset, or there is nothing to balance.
    """
    params: MutableMapping[str, Any] = YAML().load(preset.read_text(encoding="utf-8"))
    # Refuses classes that cannot be balanced.
    arms = {name: merge_arm(params["arm"], entry) for name, entry in params["datasets"].items()}
    generated = generated_classes(survey, arms, rare_below=rare_below)
    # What only the phantom has.
    if survey.folder != PHANTOM_DIR:
        params.pop("phantom", None)
    if "phantom" not in params:
        for name in [name for name, arm in arms.items() if arm["images"]["oracle"]]:
            del params["datasets"][name]  # only the phantom has more true photos
    # Classes and layout of the folder. The slides' own test set is not used: 371 of its 380 photos share an udder photo
    # with a training photo (docs/slides-photos.md).
    is_given = survey.has_test and survey.folder != TEATS_DIR
    fill_list(params["classes"], list(survey.counts))
    params["prepare"]["raw"] = survey.folder.as_posix()
    params["prepare"]["group_pattern"] = group_pattern
    params["prepare"]["groups"] = groups.as_posix() if groups else None
    params["prepare"]["split"] = "given" if is_given else "made"
    _require_photos(params, survey, preset)
    params["prepare"].update(_layout_params(survey))
    # Prompts; each class with a generator gets the token of its place: zwa for the first class, zwb for the second.
    if subject is not None:
        params["base"]["caption"] = params["class_images"]["prompt"] = photo_of(subject)
    noun = params["class_images"]["prompt"].removeprefix("a photo of ").partition(" ")[2]
    params["concepts"].clear()
    for label in generated:
        token = token_of(list(survey.counts).index(label))
        params["concepts"][label] = {"instance_prompt": f"a photo of a {token} {noun}"}
    if not flip:
        _turn_off_flips(params)
    return params


def _require_photos(params: Mapping[str, Any], survey: Survey, preset: Path) -> None:
    """Each class needs a photo for every fold, and for the test set if it is made; each batch needs enough photos."""
    prepare = params["prepare"]
    need = max(prepare["min_images"], prepare["num_folds"] + (prepare["split"] == "made"))
    for label, count in survey.counts.items():
        if count < need:
            raise ValueError(
                f"{survey.folder_of(label)}: {count} photos, need at least {need}; leave the class out with --drop "
                f"{label}, add photos, or lower prepare.min_images and prepare.num_folds in {preset}"
            )


def _layout_params(survey: Survey) -> dict[str, Any]:
    """The fields of section `prepare` that say how the folder is read."""
    layout, labels = survey.layout, survey.layout.labels
    table = labels and {
        "table": labels.table.as_posix(),
        "file_column": labels.file_column,
        "label_column": labels.label_column,
        "label_columns": list(labels.label_columns),
        "group_column": labels.group_column,
    }
    return {
        "class_names": dict(layout.class_names),
        "class_level": layout.class_level,
        "labels": table,
        "left_out": list(layout.left_out),
        "ignore": [pattern for pattern in layout.ignore if pattern],
    }


def _turn_off_flips(params: MutableMapping[str, Any]) -> None:
    """No photo is mirrored, where that would show another class."""
    for section in (params["base"], params["dreambooth"], params["arm"]["training"]):
        section["flip_horizontal"] = False
    for arm in params["datasets"].values():
        arm["training"].pop("flip_horizontal", None)


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


def keep_out_of_git(folder: Path) -> str | None:
    """Have Git ignore photos inside the checkout that it neither tracks nor ignores; returns what to say of it."""
    inside = folder.resolve()
    root = Path.cwd().resolve()
    if not inside.is_relative_to(root) or inside == root:
        return None
    path = inside.relative_to(root).as_posix()
    is_known = any(
        subprocess.run(["git", *words, "--", path], capture_output=True, check=False).stdout.strip()
        for words in (["ls-files"], ["check-ignore"])
    )
    if is_known:
        return None
    # Patterns have special characters; a backslash takes their meaning.
    pattern = re.sub(r"([\\*?\[\] !#])", r"\\\1", path)
    text = IGNORED.read_text(encoding="utf-8") if IGNORED.is_file() else ""
    write_text(IGNORED, f"{text.rstrip()}\n/{pattern}/\n".lstrip())
    return (
        f"Git ignores {path}/ from now on ({IGNORED}); to share the photos, run `dvc add '{path}'` (docs/own-photos.md)"
    )


def write_adopted(params: Mapping[str, Any], graph: str) -> None:
    """Write params.yaml and dvc.yaml."""
    # params.yaml is formatted as DVC does it, so that `dvc exp run -S` changes only the lines it sets.
    write_text(PARAMS, yaml_text(YAML(), params))
    write_text(GRAPH, graph)


def default_group_pattern(survey: Survey) -> str | None:
    """The group pattern of the slides' photos; None for any other photos, whose pattern the user must give."""
    return GROUP_PATTERN if survey.folder == TEATS_DIR else None
