"""dvc.yaml as a study needs it, and the command `sdaug stages`.

DVC cannot build a list of dependencies from params, so the concepts are listed there as well. A stage whose matrix is
an empty list is left out by DVC, but what depends on it is not: it fails for the missing file, or takes one that an
earlier study left there. So stages that only some arms use are put into dvc.yaml and taken out again.
"""

import argparse
import io
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sdaug.check.external_folders import EXTERNAL, folder_key, is_folder_key
from sdaug.check.graph_match import SYNTHETIC
from sdaug.check.study import check_study
from sdaug.common.files import write_text
from sdaug.common.sections import read_params

PARAMS, GRAPH, TEATS = Path("params.yaml"), Path("dvc.yaml"), "teats"
# Folders that have one of each concept, and the stages that depend on all of these. They are listed one by one, since
# the whole folder may still have classes of an earlier study, which another checkout lacks.
OF_CONCEPTS = {
    SYNTHETIC: ("filter", "audit_images", "split", "fidelity", "report"),
    "models/dreambooth": ("audit_images",),
}
# Stages that only some studies have; each has a file of its own.
STAGES_DIR = Path("presets/stages")


@dataclass(frozen=True, kw_only=True)
class FurtherStage:
    """A stage that only some arms use: the stage that it stands before, and what others read of it."""

    before: str
    read_by: Mapping[str, str]


FURTHER = {
    "filter": FurtherStage(before="fidelity", read_by={"split": "data/filter.csv", "report": "metrics/filter.json"}),
    "reconstruct": FurtherStage(before="split", read_by={"split": "data/reconstructed"}),
}


def add_stages(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `stages` to the subparsers of the command line."""
    stages = commands.add_parser(
        "stages", help="write dvc.yaml anew for the arms, concepts and external images of params.yaml"
    )
    stages.add_argument("name", nargs="*", help=f"of {', '.join(FURTHER)}: to have even if no arm uses it yet")
    stages.set_defaults(run=_run_stages)


def _run_stages(args: argparse.Namespace) -> None:
    """Put in the stages that arms need, or that are named, and take out the others of these."""
    for name in args.name:
        if name not in FURTHER:
            raise ValueError(f"stages: {name}: no such stage; choose from {', '.join(FURTHER)}")
    study = check_study(read_params(PARAMS), PARAMS)
    names = [name for name in FURTHER if name in {*args.name, *study.further_stages()}]
    yaml = _graph_yaml()
    whole = yaml.load(GRAPH.read_text(encoding="utf-8"))
    _fit_stages(whole["stages"], names, list(study.concepts), list(study.external))
    write_text(GRAPH, yaml_text(yaml, whole))
    print(f"{GRAPH}: with {' and '.join(names) or 'no further stage'}, for {', '.join(study.concepts)}")


def adopted_graph(
    graph: Path,
    concepts: Sequence[str],
    *,
    is_phantom: bool,
    is_teats: bool,
    tables: Sequence[Path] = (),
    further: Collection[str] = (),
    external: Sequence[str] = (),
) -> str:
    """The text of dvc.yaml for these concepts and this source of photos.

    `tables` are read beside the photos; `further` names the stages that only some arms use, and these do; `external`
    names the folders of images from elsewhere.
    """
    yaml = _graph_yaml()
    whole = yaml.load(graph.read_text(encoding="utf-8"))
    stages = whole["stages"]
    _fit_stages(stages, further, concepts, external)
    # Tables of labels and groups, after the photos.
    own = [dep for dep in stages["prepare"]["deps"] if dep.startswith(("${", "metrics/", "stages/", "src/"))]
    fill_list(stages["prepare"]["deps"], [own[0], *(table.as_posix() for table in tables), *own[1:]])
    # Without the phantom, `split` has no oracle photos to draw, and `audit` knows no true scores.
    if not is_phantom:
        stages.pop("phantom", None)
        for name in ("audit", "split"):
            fill_list(stages[name]["params"], [key for key in stages[name]["params"] if key != "phantom"])
    if is_teats and TEATS not in stages:
        _put_stage(stages, TEATS, before="prepare")
    return yaml_text(yaml, whole)


def graph_with_external(graph: Path, names: Sequence[str]) -> str:
    """The text of dvc.yaml with a stage `external` that reads the folders of these entries of section `external`."""
    yaml = _graph_yaml()
    whole = yaml.load(graph.read_text(encoding="utf-8"))
    _list_external(whole["stages"], names)
    return yaml_text(yaml, whole)


def _fit_stages(stages: Any, further: Collection[str], concepts: Sequence[str], external: Sequence[str]) -> None:
    """Have the `further` stages, no others of these, and dependencies on all concepts and `external` folders."""
    for name, stage in FURTHER.items():
        for reader, path in stage.read_by.items():
            deps = stages[reader]["deps"]
            others = [dep for dep in deps if dep != path]
            # Sorted among the other files, which stand before the code.
            place = next(index for index, dep in enumerate(others) if dep > path or dep.startswith("stages/"))
            fill_list(deps, [*others[:place], *([path] if name in further else []), *others[place:]])
        if name in stages and name not in further:
            del stages[name]
        if name in further and name not in stages:
            _put_stage(stages, name, before=stage.before)
    _list_concepts(stages, concepts)
    _list_external(stages, external)


def _put_stage(stages: Any, name: str, *, before: str) -> None:
    """Copy a stage from its own file; dvc.yaml is read from top to bottom, so it has a place."""
    text = (STAGES_DIR / f"{name}.yaml").read_text(encoding="utf-8")
    stage = _graph_yaml().load(f"{text}\n")[name]  # with an empty line after it
    stages.insert(list(stages).index(before), name, stage)


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
        for deps in (stages[name]["deps"] for name in names if name in stages):
            first = next(index for index, dep in enumerate(deps) if dep.startswith(f"{root}/"))
            others = [dep for dep in deps if not dep.startswith(f"{root}/")]
            fill_list(deps, [*others[:first], *(f"{root}/{label}" for label in concepts), *others[first:]])


def _list_external(stages: Mapping[str, Any], names: Sequence[str]) -> None:
    """Have the stage `external` depend on the folder of each entry of that section, and on no other."""
    deps = stages[EXTERNAL]["deps"]
    fill_list(deps, [*map(folder_key, names), *(dep for dep in deps if not is_folder_key(dep))])


def _graph_yaml() -> YAML:
    """A YAML writer that keeps the formatting of the handwritten dvc.yaml."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
