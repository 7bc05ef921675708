"""The text `parameters` in a PNG file, as AUTOMATIC1111's web UI writes and reads it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from sdaug.common.params import PrecisionName, SamplerName
from sdaug.external.parameters_text import NEGATIVE, split_parameters

KEY = "parameters"
# The samplers of `synthesize.drawing` by their names in that web UI.
SAMPLERS: Mapping[str, SamplerName] = {
    "DPM++ 2M": "dpm_solver",
    "UniPC": "unipc",
    "DDIM": "ddim",
    "Euler": "euler",
    "PLMS": "pndm",
}
NAMES = {sampler: name for name, sampler in SAMPLERS.items()}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a text says: values by the names of fields, and remarks on what could not be used."""

    values: Mapping[str, Any]
    remarks: list[str] = field(default_factory=list)


def write_parameters(values: Mapping[str, Any]) -> str:
    """The text of one image; `values` are those of the fields that `read_parameters` finds, all of them."""
    pairs = {
        "Steps": values["steps"],
        "Sampler": NAMES[values["sampler"]],
        "CFG scale": f"{values['guidance_scale']:.12g}",
        "Seed": values["seed"],
        "Size": f"{values['width']}x{values['height']}",
        "Model": values["model"],
        "Batch size": values["batch_size"],
        "Precision": values["precision"],
        "Version": "sdaug",
    }
    negative = f"\n{NEGATIVE} {values['negative_prompt']}" if values["negative_prompt"] else ""
    return f"{values['prompt']}{negative}\n{', '.join(f'{key}: {_quote(str(value))}' for key, value in pairs.items())}"


def read_parameters(text: str) -> Found:
    """What a text says; values that are of no use here are left out, with a remark.

    Raises:
        ValueError: it is empty.
    """
    if not text.strip():
        raise ValueError("Parameters: empty; paste the text of an image, or drop a PNG file that has one")
    prompt, negative_prompt, pairs = split_parameters(text)
    values, remarks = _read_pairs(pairs)
    return Found(values={"prompt": prompt, "negative_prompt": negative_prompt, **values}, remarks=remarks)


def save_with_parameters(path: Path, image: Image.Image, text: str) -> None:
    """Write a PNG file with the text."""
    info = PngInfo()
    info.add_text(KEY, text)
    image.save(path, format="PNG", pnginfo=info)


def parameters_of(path: Path) -> str:
    """The text of a PNG file.

    Raises:
        ValueError: it is not a PNG file, or has no such text.
    """
    way_out = "drop a PNG file as this page or AUTOMATIC1111 saves it, or paste its text"
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()  # the text may stand after the pixels
            text = getattr(image, "text", {}).get(KEY)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name}: not a whole PNG file; {way_out}") from error
    if not text:
        raise ValueError(f"{path.name}: no text `{KEY}` in it (other programs drop it on saving); {way_out}")
    return str(text)


def _read_pairs(pairs: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values of fields, and remarks."""
    values: dict[str, Any] = {}
    remarks: list[str] = []
    numbers = {"Steps": ("steps", int), "CFG scale": ("guidance_scale", float), "Seed": ("seed", int)}
    for key, (name, kind) in {**numbers, "Batch size": ("batch_size", int)}.items():
        if key in pairs:
            try:
                values[name] = kind(pairs[key])
            except ValueError:
                remarks.append(f"{key}: {pairs[key]!r} is not a number")
    if "Size" in pairs:
        size = re.fullmatch(r"(\d+)x(\d+)", pairs["Size"])
        if size:
            values |= {"width": int(size[1]), "height": int(size[2])}
        else:
            remarks.append(f"Size: {pairs['Size']!r}, need one such as 64x64")
    samplers = dict(SAMPLERS) | {name: name for name in get_args(SamplerName)}
    choices: dict[str, tuple[str, Mapping[str, str]]] = {
        "Sampler": ("sampler", samplers),
        "Precision": ("precision", {name: name for name in get_args(PrecisionName)}),
    }
    for key, (name, known) in choices.items():
        if key in pairs and pairs[key] in known:
            values[name] = known[pairs[key]]
        elif key in pairs:
            remarks.append(f"{key}: {pairs[key]!r} is not known here; there are {', '.join(known)}")
    if "Model" in pairs:
        values["model"] = pairs["Model"]
    return values, remarks


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if any(letter in text for letter in ',:\n"') else text
