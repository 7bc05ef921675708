"""What a base model has learned from: a small file beside its weights, and one among the metrics for the report."""

from dataclasses import asdict, dataclass
from pathlib import Path

from sdaug.common.files import read_json, write_json
from sdaug.common.sections import Checked, convert

SEEN = "seen.json"


@dataclass(frozen=True, kw_only=True)
class Seen(Checked):
    """What a base has learned from, in words and in numbers of images by kind.

    `num_adapted` are the training photos of the study that a loaded base learned from last.
    """

    summary: str
    counts: dict[str, int]
    num_adapted: int

    @property
    def sentence(self) -> str:
        adapted = f"; then adapted on {self.num_adapted} training photos" if self.num_adapted else ""
        return f"What the base has seen: {self.summary}{adapted}."


def write_seen(path: Path, seen: Seen) -> None:
    """Write it as JSON."""
    write_json(path, asdict(seen))


def read_seen(path: Path) -> Seen:
    """What the base has seen, from its JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a key is missing, unknown or of the wrong type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro base`")
    seen: Seen = convert(read_json(path), Seen, f"{path}:")
    return seen
