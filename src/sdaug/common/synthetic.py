"""The manifest of synthetic images: one row per image, enough to regenerate it from the same weights."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from sdaug.common.drawn import Drawn
from sdaug.common.files import read_csv, write_csv
from sdaug.common.params import SynthesisDrawing
from sdaug.common.sections import Checked
from sdaug.common.tables import parse_row, typed_cells

D = TypeVar("D", bound=Drawn)
MANIFEST = "manifest.csv"
PLAIN = "plain"  # the variant that is `synthesize.drawing` itself


@dataclass(frozen=True, kw_only=True)
class SyntheticImage(Checked):
    """One synthetic image and the settings it was generated with."""

    label: str
    draw: int  # the seed of its generator, one of `generator_seeds`
    variant: str  # how it was drawn: `plain`, or an entry of `synthesize.variants`
    photo: str  # the id of the training photo that it started from; empty if it started from noise
    seed: int
    prompt: str
    height: int
    width: int
    drawing: SynthesisDrawing

    @property
    def id(self) -> str:
        return f"synthetic-{self.seed:010d}"  # ten digits hold the 32 bits of a seed

    @property
    def file_name(self) -> str:
        return f"seed_{self.seed:010d}.png"


def write_synthetic(folder: Path, images: Sequence[SyntheticImage]) -> None:
    """Write the manifest to the folder of one class."""
    rows = []
    for image in images:
        values = asdict(image)
        drawing = values.pop("drawing")
        rows.append({"id": image.id, "label": values.pop("label"), "file": image.file_name, **values, **drawing})
    write_csv(folder / MANIFEST, rows)


def read_synthetic(folder: Path) -> list[SyntheticImage]:
    """The images in the folder of one class, in the order of the manifest.

    Raises:
        FileNotFoundError: the manifest or one of its images is missing.
        ValueError: a row lacks a value, or has invalid sampling settings.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro synthesize`")
    images = [_parse(row, where=f"{path}: {row.get('id')}") for row in read_csv(path)]
    for image in images:
        if not (folder / image.file_name).is_file():
            raise FileNotFoundError(
                f"{folder / image.file_name}: in the manifest but missing; run `dvc repro synthesize`"
            )
    return images


def by_variant(images: Sequence[D]) -> dict[str, list[D]]:
    """The images by the name of what they show: their class, with the variant if that is not `plain`."""
    found: dict[str, list[D]] = {}
    for image in images:
        name = image.label if image.variant == PLAIN else f"{image.label} ({image.variant})"
        found.setdefault(name, []).append(image)
    return found


def find_synthetic(synthetic_dir: Path, image_id: str) -> SyntheticImage:
    """The image with this id, looked up in the manifests of all classes.

    Raises:
        ValueError: it is in none of them.
    """
    manifests = sorted(synthetic_dir.glob(f"*/{MANIFEST}"))
    for path in manifests:
        for row in read_csv(path, columns=["id"]):
            if row["id"] == image_id:
                return _parse(row, where=f"{path}: {image_id}")
    raise ValueError(
        f"{image_id}: in none of {len(manifests)} manifests in {synthetic_dir}; an id looks like synthetic-0123456789 "
        "(see manifest.csv in the folder of its class)"
    )


def _parse(row: dict[str, str], *, where: str) -> SyntheticImage:
    """A CSV row as a `SyntheticImage`."""
    return parse_row(row, SyntheticImage, where=where, drawing=typed_cells(row, SynthesisDrawing))
