"""All images of a study in one table, real and synthetic, with what its stages have said of each."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sdaug.common.files import read_csv, write_csv
from sdaug.common.manifest import Photo, read_manifest, read_names, training_photos
from sdaug.common.params import SplitParams
from sdaug.common.sections import read_section
from sdaug.common.synthetic import MANIFEST, SyntheticImage, read_synthetic
from sdaug.page.study_folder import StudyFolder


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest training photo of a synthetic image; `ratio` is the distance relative to that of the next ones."""

    photo: str
    distance: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image.

    `split` is train, validation, test or synthetic. `source` is the file of a photo, or what a synthetic image started
    from. `probability` is that of its class by the judge of stage `filter`. `wrong` counts the classifiers of each arm
    that name another class.
    """

    id: str
    path: Path
    label: str
    split: str
    group: str = ""
    source: str = ""
    image: SyntheticImage | None = None
    nearest: Nearest | None = None
    probability: float | None = None
    wrong: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_wrong(self) -> int:
        return sum(self.wrong.values())

    @property
    def kind(self) -> Literal["photo", "synthetic"]:
        return "photo" if self.image is None else "synthetic"


@dataclass(frozen=True, kw_only=True)
class Images:
    """All images by id, the number of classifiers of each arm, and remarks on files that were not there."""

    entries: Mapping[str, Entry]
    num_runs: Mapping[str, int]
    remarks: Sequence[str]

    @property
    def classes(self) -> list[str]:
        return sorted({entry.label for entry in self.entries.values()})

    @property
    def arms(self) -> list[str]:
        return list(self.num_runs)


def read_images(folder: StudyFolder) -> Images:
    """The table of a study; what stages have not made yet is left out, with a remark.

    Raises:
        ValueError: a file is damaged.
    """
    remarks: list[str] = []
    wrong, num_runs = _read_wrong(folder.metrics / "predictions")
    if not num_runs:
        remarks.append("no predictions in metrics/predictions/: `dvc repro evaluate` makes them")
    photos = _read_photos(folder, wrong, remarks)
    synthetic = _read_synthetic(folder, remarks)
    entries = {entry.id: entry for entry in (*photos, *synthetic)}
    return Images(entries=entries, num_runs=num_runs, remarks=remarks)


def image_rows(images: Images, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The table as rows of plain values; cells that do not apply are empty."""
    return [_row(images, entry) for entry in entries]


def write_images(path: Path, images: Images) -> None:
    """Write the table as CSV; `filepath`, absolute, is where FiftyOne and Renumics Spotlight look for the image."""
    write_csv(path, image_rows(images, list(images.entries.values())))


def seen_photos(folder: StudyFolder) -> list[Photo]:
    """The photos that the generators have seen."""
    return training_photos(read_manifest(folder.prepared), read_section(folder.params, "split", SplitParams))


def _row(images: Images, entry: Entry) -> dict[str, Any]:
    image, nearest, is_judged = entry.image, entry.nearest, bool(entry.wrong)
    return {
        "filepath": str(entry.path),
        "id": entry.id,
        "kind": entry.kind,
        "label": entry.label,
        "split": entry.split,
        "group": entry.group,
        "source": entry.source,
        "draw": image.draw if image else "",
        "variant": image.variant if image else "",
        "prompt": image.prompt if image else "",
        "seed": image.seed if image else "",
        "nearest_photo": nearest.photo if nearest else "",
        "nearest_distance": nearest.distance if nearest else "",
        "nearest_ratio": nearest.ratio if nearest else "",
        "judge_probability": "" if entry.probability is None else entry.probability,
        "num_wrong": entry.num_wrong if is_judged else "",
        **{f"wrong_{arm}": entry.wrong.get(arm, 0) if is_judged else "" for arm in images.arms},
        **{f"runs_{arm}": count if is_judged else "" for arm, count in images.num_runs.items()},
    }


def _read_wrong(predictions: Path) -> tuple[dict[str, Counter[str]], dict[str, int]]:
    """How many runs of each arm are wrong on each test photo, by id, and the number of runs of each arm."""
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    num_runs = Counter[str]()
    for path in sorted(predictions.glob("*-*/*.csv")):
        arm = path.parent.name.partition("-")[2]  # MODEL-ARM; names have no dash
        num_runs[arm] += 1
        for row in read_csv(path, columns=("id", "label")):
            chances = {key.removeprefix("p_"): value for key, value in row.items() if key.startswith("p_")}
            try:
                said = max(chances, key=lambda label: float(chances[label]))
            except ValueError as error:
                raise ValueError(f"{path}: {row['id']}: not a table of probabilities; `dvc repro evaluate`") from error
            wrong[row["id"]][arm] += said != row["label"]
    return dict(wrong), dict(num_runs)


def _read_photos(folder: StudyFolder, wrong: Mapping[str, Counter[str]], remarks: list[str]) -> list[Entry]:
    try:
        photos = read_manifest(folder.prepared)
    except FileNotFoundError as error:
        remarks.append(str(error))
        return []
    names_file = folder.root / "data" / "names.csv"
    names = read_names(names_file) if names_file.is_file() else {}
    fold = _fold(folder)
    return [
        Entry(
            id=photo.id,
            path=folder.prepared / "images" / photo.file_name,
            label=photo.label,
            split="validation" if photo.split == "train" and photo.fold == fold else photo.split,
            group=photo.group,
            source=names.get(photo.id, ""),
            wrong=wrong.get(photo.id, {}),
        )
        for photo in photos
    ]


def _read_synthetic(folder: StudyFolder, remarks: list[str]) -> list[Entry]:
    nearest, judged = _read_nearest(folder.metrics / "closest_pairs.csv"), _read_judged(folder.root / "data")
    found = []
    for manifest in sorted(folder.synthetic.glob(f"*/{MANIFEST}")):
        found += [
            Entry(
                id=image.id,
                path=manifest.parent / image.file_name,
                label=image.label,
                split="synthetic",
                source=image.photo or "noise",
                image=image,
                nearest=nearest.get(image.id),
                probability=judged.get(image.id),
            )
            for image in read_synthetic(manifest.parent)
        ]
    if not found:
        remarks.append("no images in data/synthetic/: `dvc repro synthesize` draws them")
    return found


def _read_nearest(path: Path) -> dict[str, Nearest]:
    if not path.is_file():
        return {}
    rows = read_csv(path, columns=("synthetic", "photo", "distance", "ratio"))
    return {
        row["synthetic"]: Nearest(
            photo=row["photo"], distance=_number(row, "distance", path), ratio=_number(row, "ratio", path)
        )
        for row in rows
    }


def _read_judged(data: Path) -> dict[str, float]:
    """What stage `filter` says; it says nothing where no arm filters."""
    path = data / "filter.csv"
    if not path.is_file():
        return {}
    rows = read_csv(path, columns=("id", "probability"))
    return {row["id"]: _number(row, "probability", path) for row in rows}


def _number(row: Mapping[str, str], column: str, path: Path) -> float:
    try:
        return float(row[column])
    except ValueError as error:
        raise ValueError(f"{path}: {column} {row[column]!r}: not a number; `dvc repro` makes the file anew") from error


def _fold(folder: StudyFolder) -> object:
    try:
        split = read_section(folder.params, "split", SplitParams)
    except (FileNotFoundError, ValueError):
        return None
    return split.fold if split.protocol == "clean" else None
