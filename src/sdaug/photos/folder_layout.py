"""How a folder of photos is to be read: which folder names the class, what is left out, and a table of labels."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath

from pydantic import Field

from sdaug.common.sections import Checked, FilePath, require, section


@section
class LabelTable(Checked):
    """A CSV file that names the class of each photo; either `label_column` holds it, or the largest `label_columns`."""

    table: FilePath = Field(description="the CSV file")
    file_column: str = Field(description="column of file names")
    label_column: str | None = Field(description="column of classes; empty with label_columns")
    label_columns: list[str] = Field(description="a column for each class, as in one-hot tables")
    group_column: str | None = Field(description="column of groups; empty for none")

    def __post_init__(self) -> None:
        is_one = (self.label_column is None) == bool(self.label_columns)
        require(is_one, "label_column", self.label_column, "need either label_column or label_columns")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How photos and their classes are found below a folder; as the fields of section `prepare` of these names."""

    class_names: Mapping[str, str] = field(default_factory=dict)
    left_out: Collection[str] = ()
    class_level: int = 1
    ignore: Collection[str] = ()
    labels: LabelTable | None = None

    def name_of(self, label: str) -> str:
        """What a class is called in the folder or table."""
        return self.class_names.get(label, label)

    def is_ignored(self, path: PurePosixPath) -> bool:
        """Whether a path below the folder matches a pattern of `ignore`, as a whole, by its name or a folder's."""
        names = (path.as_posix(), *path.parts)
        return any(fnmatch(name, pattern) for name in names for pattern in self.ignore)
