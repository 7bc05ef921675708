"""The generated images that are most likely copies of a training photo, beside that photo.

They are sorted by `ratio`: the distance to the nearest training photo relative to that to the next ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdaug.common.files import read_csv
from sdaug.verdict.thumbnails import thumbnail

COLUMNS = ("label", "draw", "synthetic", "photo", "ratio", "is_copy")
NUM_PAIRS = 5  # of each class


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A generated image and its nearest training photo, as data URIs."""

    label: str
    draw: str
    ratio: float
    is_copy: bool
    synthetic: str
    photo: str


def read_pairs(
    path: Path, *, classes: Sequence[str], synthetic: Mapping[str, Path], photos: Mapping[str, Path]
) -> dict[str, list[Pair]]:
    """The most suspect pairs of each class that has any, the worst first; files are looked up by the images' ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column or an image is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro fidelity`")
    rows = read_csv(path, columns=COLUMNS)
    rows.sort(key=lambda row: (_ratio(row, path), row["synthetic"], row["photo"]))

    def pair(row: Mapping[str, str]) -> Pair:
        return Pair(
            label=row["label"],
            draw=row["draw"],
            ratio=_ratio(row, path),
            is_copy=row["is_copy"] == "1",
            synthetic=_small(synthetic, row["synthetic"], path),
            photo=_small(photos, row["photo"], path),
        )

    found = {label: [row for row in rows if row["label"] == label][:NUM_PAIRS] for label in classes}
    return {label: [pair(row) for row in of_class] for label, of_class in found.items() if of_class}


def _ratio(row: Mapping[str, str], source: Path) -> float:
    try:
        return float(row["ratio"])
    except ValueError as error:
        text = f"ratio {row['ratio']!r}: not a number; run `dvc repro fidelity`"
        raise ValueError(f"{source}: {text}") from error


def _small(paths: Mapping[str, Path], image_id: str, source: Path) -> str:
    if image_id not in paths:
        raise ValueError(f"{source}: image {image_id}: no such file in this study; run `dvc repro fidelity`")
    return thumbnail(paths[image_id])
