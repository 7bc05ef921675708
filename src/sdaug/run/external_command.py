"""The command `sdaug external`: makes a folder of images from elsewhere an arm of the study."""

import argparse
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken

from sdaug.check.external_folders import folder_key, require_images
from sdaug.check.study import check_study
from sdaug.external.folder import find_images
from sdaug.external.settings import read_settings_table
from sdaug.photos.folders import class_ids
from sdaug.run.adopt import keep_out_of_git, refuse_unsaved, write_adopted
from sdaug.run.graph import GRAPH, PARAMS, graph_with_external

LAST = "seen"  # key of an entry: text, after which ruamel keeps an empty line


def add_external(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `external` to the subparsers of the command line."""
    external = commands.add_parser("external", help="add an arm with images that another tool drew")
    external.add_argument("folder", type=Path, help="folder with a folder of images per class, named as in `classes`")
    external.add_argument("--name", help="of the images and of their arm (default: that of the folder)")
    external.add_argument(
        "--seen",
        choices=("none", "training", "unknown"),
        default="unknown",
        help="photos of this study that the tool has seen: none, training (no others), or unknown (default)",
    )
    external.add_argument("--table", help="CSV file in the folder with the settings of each image: file, prompt, seed")
    external.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out files and folders such as '*_grid.png'; may be given several times",
    )
    external.set_defaults(run=_run_external)


def _run_external(args: argparse.Namespace) -> None:
    """Check everything, then write the section, the arm and the dependency of the stage `external`."""
    refuse_unsaved([PARAMS, GRAPH])
    params: MutableMapping[str, Any] = YAML().load(PARAMS.read_text(encoding="utf-8"))
    name = args.name or class_ids([args.folder.resolve().name])[args.folder.resolve().name]
    for key in ("external", "datasets"):
        if name in params[key]:
            raise ValueError(f"{PARAMS}: {key}.{name}: exists; give another --name, or edit {PARAMS}")
    source = _describe_source(args, params)
    add_arm(params, name, source)
    study = check_study(params, PARAMS)
    found = find_images(name, study.external[name], study.classes)
    require_images(study)
    if args.table:
        originals = [image.path.relative_to(args.folder).as_posix() for image in found.images]
        read_settings_table(args.folder / args.table, originals)
    write_adopted(params, graph_with_external(GRAPH, list(params["external"])))
    said = keep_out_of_git(args.folder)
    print("\n".join(f"{label:>20}: {found.counts[label]} images" for label in study.classes))
    if said:
        print(said)
    print(
        f"Wrote external.{name} and the arm {name} to {PARAMS}, and {folder_key(name)} to {GRAPH}. Next: review them "
        "with `git diff`, then run `dvc repro`."
    )


def _describe_source(args: argparse.Namespace, params: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of section `external`."""
    if not args.folder.is_dir():
        raise FileNotFoundError(f"{args.folder}: no such folder; give one with a folder of images per class")
    return {
        "folder": args.folder.as_posix(),
        "table": args.table,
        "class_names": match_classes(args.folder, params["classes"], params["prepare"]["class_names"]),
        "ignore": args.ignore,
        LAST: args.seen,
    }


def match_classes(folder: Path, classes: list[str], names: Mapping[str, str]) -> dict[str, str]:
    """The folders that are called otherwise than their class: as that of its photos, or in another case."""
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    found = {}
    for label in classes:
        known = [label, names.get(label, label), *(name for name in there if name.casefold() == label.casefold())]
        match = next((name for name in known if name in there), label)
        if match != label:
            found[label] = match
    return found


def add_arm(params: MutableMapping[str, Any], name: str, source: Mapping[str, Any]) -> None:
    """Add the images and their arm to a params file as ruamel read it; its comments and empty lines stay."""
    section: Any = params["external"]
    if section:
        # An empty line after the section is part of its last value.
        list(section.values())[-1].ca.items.pop(LAST, None)
    else:
        # `{}` would keep all that it gets on one line; its comment stands after the key.
        section = params["external"] = CommentedMap()
        for token in filter(None, params.ca.items.get("external", ())):  # type: ignore[attr-defined]
            token.value, token.column = token.value.rstrip("\n") + "\n", len("external: ")
    section[name] = CommentedMap(source)
    section[name].ca.items[LAST] = [None, None, CommentToken("\n\n", CommentMark(0), None), None]
    params["datasets"][name] = {"images": {"external": name}, "training": {}}
