"""Settings of images that other tools drew: from the files themselves, or from a table beside them.

AUTOMATIC1111 and its relatives write a text named `parameters` (in JPEG and WebP the EXIF user comment); ComfyUI
writes its graph of nodes as JSON, named `prompt`. These forms are not specified anywhere: what does not look like them
is left empty, and never an error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from PIL import Image

from sdaug.common.external_images import Settings
from sdaug.common.files import read_csv
from sdaug.external.parameters_text import split_parameters

FORMATS = ("PNG", "JPEG", "WEBP")
EXIF, USER_COMMENT = 0x8769, 0x9286
AUTOMATIC, COMFY, TABLE = "AUTOMATIC1111", "ComfyUI", "table"
COLUMNS = [field.name for field in fields(Settings)]


def read_settings(path: Path) -> tuple[Settings, str]:
    """What an image file says of how it was drawn, and that text as it stands; both are empty if it says nothing."""
    text = _texts(path)
    parameters, graph = text.get("parameters", ""), text.get("prompt", "")
    if parameters:
        return parse_parameters(parameters), parameters
    found = parse_graph(graph)
    return (found, graph) if found else (Settings(), "")


def parse_parameters(text: str) -> Settings:
    """AUTOMATIC1111's text: the prompt, what the image shall not show, and a last line of `name: value` pairs."""
    prompt, negative_prompt, pairs = split_parameters(text)
    return Settings(
        tool=AUTOMATIC,
        prompt=_line(prompt),
        negative_prompt=_line(negative_prompt),
        seed=pairs.get("Seed", ""),
        model=pairs.get("Model", ""),
    )


def parse_graph(text: str) -> Settings | None:
    """ComfyUI's graph: what the samplers in it agree on; None if it is no such graph."""
    try:
        graph: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    nodes = graph.values() if isinstance(graph, dict) else ()
    inputs = [node["inputs"] for node in nodes if isinstance(node, dict) and isinstance(node.get("inputs"), dict)]
    if not inputs:
        return None
    return Settings(
        tool=COMFY,
        prompt=_line(_only([_prompt(graph, found["positive"]) for found in inputs if "positive" in found])),
        negative_prompt=_line(_only([_prompt(graph, found["negative"]) for found in inputs if "negative" in found])),
        seed=_only([_plain(found.get(key)) for found in inputs for key in ("seed", "noise_seed")]),
        model=_only([_plain(found.get(key)) for found in inputs for key in ("ckpt_name", "unet_name")]),
    )


def read_settings_table(path: Path, originals: Sequence[str]) -> dict[str, Settings]:
    """The settings of each image that a table names, by its file below the folder.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it has no column `file` or names a file twice, or one that is not there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of settings; add it, or leave `table` empty")
    remedy = "correct the table, or leave `table` empty"
    found: dict[str, Settings] = {}
    known = set(originals)
    for row in read_csv(path, columns=("file",), remedy=remedy):
        file = row["file"].replace("\\", "/")
        if file not in known:
            raise ValueError(
                f"{path}: file {row['file']!r}: no such image; give paths below the folder, such as {min(known)}"
            )
        if file in found:
            raise ValueError(f"{path}: file {row['file']!r}: in several rows; {remedy}")
        said = {name: _line(row.get(name, "")) for name in COLUMNS}
        found[file] = Settings(**said | {"tool": said["tool"] or TABLE})
    return found


def merge_settings(own: Settings, other: Settings | None) -> Settings:
    """What a table says of an image, and what the image says itself where the table says nothing."""
    if other is None:
        return own
    said = {name: value for name, value in asdict(other).items() if value and (name, value) != ("tool", TABLE)}
    return Settings(**{**asdict(own), "tool": own.tool or TABLE, **said})


def _texts(path: Path) -> dict[str, str]:
    """The texts of an image file by name; a file that cannot be read has none, as decoding will tell."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            found = _texts_of(image)
            if image.format == "PNG" and not found:
                image.load()  # some write texts after the pixels
                found = _texts_of(image)
            comment = image.getexif().get_ifd(EXIF).get(USER_COMMENT)
    except Exception:  # noqa: BLE001 - decoders raise anything for a damaged file, and settings are never an error
        return {}
    text = _decode_comment(comment)
    # The comment of a camera is no list of settings.
    return found if "parameters" in found or "Steps: " not in text else {**found, "parameters": text}


def _texts_of(image: Image.Image) -> dict[str, str]:
    return {str(key): value for key, value in image.info.items() if isinstance(value, str)}


def _decode_comment(comment: object) -> str:
    """An EXIF user comment, whose first eight bytes name its encoding."""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else ""
    head, body = comment[:8], comment[8:]
    if not head.startswith(b"UNICODE"):
        return body.decode("utf-8", "ignore")
    # Neither byte order is stated; of mostly Latin letters, one has the zeros first.
    return body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le", "ignore")


def _prompt(graph: Mapping[str, Any], link: Any, depth: int = 5) -> str:
    """The text of the node that a link `[node, output]` leads to, perhaps by way of others."""
    node = graph.get(str(link[0])) if isinstance(link, list) and link else None
    inputs = node.get("inputs") if isinstance(node, dict) else None
    if not isinstance(inputs, dict) or not depth:
        return ""
    if isinstance(inputs.get("text"), str):
        return str(inputs["text"])
    nexts = [inputs[key] for key in ("text", "conditioning", "positive") if isinstance(inputs.get(key), list)]
    return next(filter(None, (_prompt(graph, one, depth - 1) for one in nexts)), "")


def _plain(value: object) -> str:
    """A value of a node; links to other nodes say nothing."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _only(values: Sequence[str]) -> str:
    """The value that all agree on; empty if they do not."""
    said = {value for value in values if value}
    return said.pop() if len(said) == 1 else ""


def _line(text: str) -> str:
    return " ".join(text.split())
