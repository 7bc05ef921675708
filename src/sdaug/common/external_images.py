"""The manifest of images that other tools drew: one row per image, with what is known of its settings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sdaug.common.files import write_csv
from sdaug.common.sections import Checked
from sdaug.common.tables import read_table

MANIFEST = "manifest.csv"
SeenPhotos = Literal["none", "training", "unknown"]  # photos of the study that a tool has seen


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    """What an image says of how it was drawn, or a table says of it; empty where nothing does."""

    tool: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    seed: str = ""  # as it was found: tools have more than numbers
    model: str = ""

    @property
    def caption(self) -> str:
        """All of it in one line."""
        said = {"seed": self.seed, "model": self.model, "by": self.tool, "without": self.negative_prompt}
        rest = ", ".join(f"{name} {value}" for name, value in said.items() if value)
        return "; ".join(filter(None, [self.prompt, rest]))


@dataclass(frozen=True, kw_only=True)
class ExternalImage(Settings):
    """One imported image; `source` is its entry of section `external`, `original` its file below that folder."""

    id: str
    label: str
    source: str
    original: str

    @property
    def file_name(self) -> str:
        """Below the folder of all imported images; the id has the hash of the original."""
        return f"{self.source}/{self.id.rpartition('-')[2]}.png"

    @property
    def draw(self) -> None:
        """Of none of our generators: all training runs have the same images."""
        return None

    @property
    def variant(self) -> str:
        """Arms and tables tell images of one class apart by this."""
        return self.source

    @property
    def photo(self) -> str:
        """Whether it started from a photo is not known."""
        return ""


def external_id(source: str, file_hash: str) -> str:
    """The id of an image, from its source and the first digits of the hash of its file, as for photos."""
    return f"external-{source}-{file_hash}"


def write_external(folder: Path, images: Sequence[ExternalImage]) -> None:
    """Write the manifest of all sources, which may have no image at all."""
    first = ("id", "label", "source", "original")
    values = [asdict(image) for image in sorted(images, key=lambda image: image.id)]
    rows = [{key: row.pop(key) for key in first} | row for row in values]
    path = folder / MANIFEST
    if rows:
        write_csv(path, rows)
    else:
        path.write_text(",".join([*first, *asdict(Settings())]) + "\n", encoding="utf-8")


def read_external(folder: Path) -> list[ExternalImage]:
    """All imported images, sorted by id.

    Raises:
        FileNotFoundError: the manifest or one of its images is missing.
        ValueError: a row is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro external`")
    images = read_table(path, ExternalImage)
    for image in images:
        if not (folder / image.file_name).is_file():
            raise FileNotFoundError(
                f"{folder / image.file_name}: in the manifest but missing; run `dvc repro -f external`"
            )
    return images
