"""dvc.yaml as a study needs it.

DVC cannot build a list of dependencies from params, so the concepts are listed there as well.
"""

import io
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

GRAPH, TEATS = Path("dvc.yaml"), "teats"
# Folders that have one of each concept, and the stages that depend on all of these. They are listed one by one, since
# the whole folder may still have classes of an earlier study, which another checkout lacks.
OF_CONCEPTS = {
    "data/synthetic": ("filter", "audit_images", "split", "fidelity", "report"),
    "models/dreambooth": ("audit_images",),
}
# A stage that no other study has; `adopt` copies it to dvc.yaml.
TEATS_STAGE = Path("presets/stages/teats.yaml")


def adopted_graph(
    graph: Path, concepts: Sequence[str], *, is_phantom: bool, is_teats: bool, tables: Sequence[Path] = ()
) -> str:
    """The text of dvc.yaml for these concepts and this source of photos; `tables` are read beside the photos."""
    yaml = _graph_yaml()
    whole = yaml.load(graph.read_text(encoding="utf-8"))
    stages = whole["stages"]
    _list_concepts(stages, concepts)
    # Tables of labels and groups, after the photos.
    own = [dep for dep in stages["prepare"]["deps"] if dep.startswith(("${", "metrics/", "stages/", "src/"))]
    fill_list(stages["prepare"]["deps"], [own[0], *(table.as_posix() for table in tables), *own[1:]])
    # Without the phantom, `split` has no oracle photos to draw, and `audit` knows no true scores.
    if not is_phantom:
        stages.pop("phantom", None)
        for name in ("audit", "split"):
            fill_list(stages[name]["params"], [key for key in stages[name]["params"] if key != "phantom"])
    # Right after `check`, since dvc.yaml is read from top to bottom.
    if is_teats and TEATS not in stages:
        stages.insert(1, TEATS, yaml.load(TEATS_STAGE.read_text(encoding="utf-8"))[TEATS])
    return yaml_text(yaml, whole)


def fill_list(items: Any, values: Sequence[Any]) -> None:
    """Replace a list's items; a comment that ruamel attached to the last item stays last."""
    trailing = items.ca.items.pop(len(items) - 1, None)
    items[:] = list(values)
    if trailing is not None:
        items.ca.items[len(items) - 1] = trailing


def yaml_text(yaml: YAML, value: Mapping[str, Any]) -> str:
    """What `yaml` writes of a value."""
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _list_concepts(stages: Mapping[str, MutableMapping[str, Any]], concepts: Sequence[str]) -> None:
    """Put a folder of each concept at the place of those of the old ones."""
    for root, names in OF_CONCEPTS.items():
        for deps in (stages[name]["deps"] for name in names):
            first = next(index for index, dep in enumerate(deps) if dep.startswith(f"{root}/"))
            others = [dep for dep in deps if not dep.startswith(f"{root}/")]
            fill_list(deps, [*others[:first], *(f"{root}/{label}" for label in concepts), *others[first:]])


def _graph_yaml() -> YAML:
    """A YAML writer that keeps the formatting of the handwritten dvc.yaml."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
