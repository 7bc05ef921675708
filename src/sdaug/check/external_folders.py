"""Whether images from elsewhere are there and under DVC: found before anything slow starts."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sdaug.check.study import StudyParams
from sdaug.external.folder import find_images

EXTERNAL = "external"  # the stage
PREFIX = f"${{{EXTERNAL}."


def folder_key(name: str) -> str:
    """How dvc.yaml names the folder of an entry of section `external`."""
    return f"{PREFIX}{name}.folder}}"


def is_folder_key(dependency: str) -> bool:
    """Whether a dependency of the stage is such a folder."""
    return dependency.startswith(PREFIX)


def require_external(study: StudyParams, graph: Path) -> None:
    """Refuse sources whose folder does not fit, that lack a class that an arm fills, or that DVC does not watch.

    Raises:
        FileNotFoundError: a folder, or a table of settings, is missing.
        ValueError: a rule is broken.
    """
    require_images(study)
    require_watched(study, graph)


def require_images(study: StudyParams) -> None:
    """Refuse folders that do not fit the classes, or lack images of a class that an arm fills; no file is opened.

    Raises:
        FileNotFoundError: a folder, or a table of settings, is missing.
        ValueError: a rule is broken.
    """
    for name, source in study.external.items():
        counts = find_images(name, source, study.classes).counts
        if source.table and not (source.folder / source.table).is_file():
            raise FileNotFoundError(
                f"params.yaml: external.{name}.table: {source.folder / source.table}: no such file; add it, or leave "
                "`table` empty"
            )
        arms = [arm for arm, found in study.datasets.items() if found.images.external == name]
        absent = [label for label in study.concepts if not counts[label]]
        if arms and absent:
            folders = ", ".join(str(source.folder / source.class_names.get(label, label)) for label in absent)
            raise ValueError(
                f"params.yaml: external.{name}: no images of {', '.join(absent)}, which arm {arms[0]} fills up; put "
                f"some into {folders}"
            )


def require_watched(study: StudyParams, graph: Path) -> None:
    """Refuse folders that the stage `external` does not depend on, and dependencies that are gone.

    Raises:
        ValueError: a rule is broken.
    """
    stages: Any = YAML(typ="safe").load(graph.read_text(encoding="utf-8"))["stages"]
    watched = stages.get(EXTERNAL, {}).get("deps", [])
    for name, source in study.external.items():
        if not {folder_key(name), source.folder.as_posix()} & set(watched):
            raise ValueError(
                f"{graph.name}: stage {EXTERNAL}: does not depend on {folder_key(name)}, so that DVC would not see "
                "new images; run `sdaug stages`"
            )
    known = [folder_key(name) for name in study.external]
    gone = [dep for dep in watched if is_folder_key(dep) and dep not in known]
    if gone:
        raise ValueError(
            f"{graph.name}: stage {EXTERNAL}: depends on {gone[0]}, which params.yaml lacks; run `sdaug stages`"
        )
