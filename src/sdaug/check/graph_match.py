"""dvc.yaml beside params.yaml: it has the stages of all arms, and the folders of all concepts."""

from pathlib import Path

from ruamel.yaml import YAML

from sdaug.check.study import StudyParams

SYNTHETIC = "data/synthetic"  # has a folder of each concept


def require_stages(study: StudyParams, params: Path, graph: Path) -> None:
    """Refuse a dvc.yaml that was written for other params.

    Raises:
        ValueError: it lacks a stage that an arm needs, or lists other concepts.
    """
    stages = YAML(typ="safe").load(graph.read_text(encoding="utf-8"))["stages"]
    for name, setting in study.further_stages().items():
        if name not in stages:
            raise ValueError(
                f"{params}: {setting}; it needs the stage {name}, which {graph} lacks; run `sdaug stages {name}`"
            )
    root, concepts = f"{SYNTHETIC}/", list(study.concepts)
    listed = [dep.removeprefix(root) for dep in stages["split"]["deps"] if dep.startswith(root)]
    if sorted(listed) != sorted(concepts):
        raise ValueError(
            f"{params}: concepts: {', '.join(concepts)}; {graph} has {', '.join(listed)}; run `sdaug stages`"
        )
