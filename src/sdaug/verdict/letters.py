"""What other stages wrote for the report, typed down to each value: a letter is one file, metrics/STAGE.json.

A letter has exactly the keys that its stage writes, so that a key which one side renames is seen at once. Kinds of
images: `photos` are real ones, `before` those of the base, `after` those of the generators.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from sdaug.common.files import read_json
from sdaug.common.sections import Checked, convert
from sdaug.verdict.statistics import Interval

Severity = Literal["ok", "warning", "leak"]


@dataclass(frozen=True, kw_only=True)
class Letter(Checked):
    """What one stage wrote."""

    stage: ClassVar[str]

    @classmethod
    def read(cls, metrics_dir: Path) -> Self:
        """The letter of the stage.

        Raises:
            FileNotFoundError: the stage has not run.
            ValueError: a key is missing or unknown, or a value of another type.
        """
        path = metrics_dir / f"{cls.stage}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; run `dvc repro {cls.stage}`")
        try:
            letter: Self = convert(cls._fields_of(read_json(path)), cls, f"{path}:")
        except ValueError as error:
            rule, _, _ = str(error).partition("; allowed keys")
            raise ValueError(f"{rule}; run `dvc repro {cls.stage}`") from error
        return letter

    def as_json(self) -> dict[str, Any]:
        """All of it as the file has it, keys in their order."""
        return asdict(self)

    @classmethod
    def _fields_of(cls, values: dict[str, Any]) -> dict[str, Any]:
        return values


@dataclass(frozen=True, kw_only=True)
class Prepared(Letter):
    """What `prepare` made of the photos: numbers of photos by part and class (`train.score_1`), and what it left out.

    `duplicates` and `broken_of_class` count by part and class as well; the lists have a line for each thing.
    """

    stage = "prepare"

    num_photos: Mapping[str, int]
    num_groups: int
    num_test_images_sharing_a_group_with_training: int
    largest_group: int
    num_near_copies: int
    num_duplicates: int
    duplicates: Mapping[str, int]
    num_training_copies_of_test_photos: int
    num_ignored: int
    num_broken: int
    broken_of_class: Mapping[str, int]
    broken: list[str]
    unused: list[str]
    unread: list[str]
    num_broken_profiles: int
    left_out: list[str]

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        counts: dict[str, Any] = values.pop("num_photos")
        return counts | values

    @classmethod
    def _fields_of(cls, values: dict[str, Any]) -> dict[str, Any]:
        # In the file the numbers of photos stand beside all else; the name of a class has no dot.
        counts = {key: count for key, count in values.items() if "." in key}
        return {"num_photos": counts} | {key: value for key, value in values.items() if key not in counts}


@dataclass(frozen=True, kw_only=True)
class Check(Checked):
    """One check of an audit: what it compared, the images that it found, and a line on each finding."""

    compared: str
    verdict: Severity
    num_found: int
    ids: list[str]
    details: list[str]


@dataclass(frozen=True, kw_only=True)
class Doubts(Checked):
    """Labels that the audit doubts; the last three only where the wrong ones are known, as on the phantom."""

    compared: str
    accuracy_of_classifier: float
    num_found: int
    ids: list[str]
    details: list[str]
    num_wrong: int | None = None
    precision: float | None = None
    recall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Audit(Letter):
    """The audit of photos."""

    stage = "audit"

    verdict: Severity
    on_leak: str
    checks: Mapping[str, Check]
    num_photos: Mapping[str, int]
    label_errors: Doubts

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        if self.label_errors.num_wrong is None:
            for key in ("num_wrong", "precision", "recall"):
                del values["label_errors"][key]
        return values


@dataclass(frozen=True, kw_only=True)
class ImageAudit(Letter):
    """The audit of generated images, and of what their generators saw."""

    stage = "audit_images"

    verdict: Severity
    on_leak: str
    checks: Mapping[str, Check]
    num_synthetic: int


@dataclass(frozen=True, kw_only=True)
class JudgeFigures(Checked):
    """A figure for each kind of images, photos as the VAE returns them among them; None where no judge can tell."""

    photos: float | None
    reconstructed: float | None
    before: float | None
    after: float | None


@dataclass(frozen=True, kw_only=True)
class Judged(Checked):
    """The share of images that judges take for their class, and the mean probability of it; the share of each draw."""

    share: JudgeFigures
    probability: JudgeFigures
    share_of_draw: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Distance(Checked):
    """How far images are from photos; None where either are too few to tell."""

    num_images: int
    kernel_distance: float | None
    kernel_distance_low: float | None
    kernel_distance_high: float | None
    k: int | None
    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None

    @property
    def interval(self) -> Interval | None:
        """That of the kernel distance."""
        if self.kernel_distance_low is None or self.kernel_distance_high is None:
            return None
        return Interval(self.kernel_distance_low, self.kernel_distance_high)


@dataclass(frozen=True, kw_only=True)
class Distances(Checked):
    """The distance of each kind of images; `sharp` are the photos themselves, all others are soft as by the VAE."""

    photos: Distance
    sharp: Distance
    before: Distance
    after: Distance


@dataclass(frozen=True, kw_only=True)
class CopyShares(Checked):
    """The shares that count as copies: of photos, of planted copies and of generated images; None of no images."""

    photos: float | None
    planted: float | None
    after: float | None


@dataclass(frozen=True, kw_only=True)
class Copies(Checked):
    """The shares of copies, and the ratio of distances of the most suspect image."""

    share: CopyShares
    smallest_ratio: float


@dataclass(frozen=True, kw_only=True)
class Likeness(Checked):
    """What `fidelity` measured of one class."""

    num_photos: int
    num_images: int
    judge: Judged
    distances: Distances
    copies: Copies


@dataclass(frozen=True, kw_only=True)
class Vae(Checked):
    """What the VAE loses; the accuracies are None where no photos can be held out."""

    squared_error: float
    accuracy_on_photos: float | None
    accuracy_on_reconstructions: float | None


@dataclass(frozen=True, kw_only=True)
class CopyDetection(Checked):
    """The ratio below which an image counts as a copy, and the share of planted copies found, by how they were made."""

    threshold: float
    found: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Fidelity(Letter):
    """Whether generated images look like their class."""

    stage = "fidelity"

    vae: Vae
    copies: CopyDetection
    classes: Mapping[str, Likeness]


@dataclass(frozen=True, kw_only=True)
class Quartiles(Checked):
    """Of the probability that a generated image has for its class."""

    quarter: float
    half: float
    three_quarters: float


@dataclass(frozen=True, kw_only=True)
class Filtered(Checked):
    """What the judge of `filter` says of one class's images."""

    num_images: int
    num_of_draw: Mapping[str, int]
    recognized: float
    probability: Quartiles


@dataclass(frozen=True, kw_only=True)
class Filter(Letter):
    """The judge's opinion of each class; of none where no arm keeps a share of the images."""

    stage = "filter"

    classes: Mapping[str, Filtered]
