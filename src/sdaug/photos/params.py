"""Section `prepare` of params.yaml."""

import re
from typing import Literal

from pydantic import Field

from sdaug.common.params import Square
from sdaug.common.sections import Checked, FilePath, require, section
from sdaug.photos.folder_layout import LabelTable, Layout


@section
class PrepareParams(Checked):
    """Section `prepare`: how raw photos are prepared."""

    raw: FilePath = Field(description="a folder of class folders, or of train/ and test/ with class folders")
    size_pixels: int = Field(ge=32, le=1024, multiple_of=8, description="width and height of all images")
    square: Square = Field(description="crop (the centre), pad (with the border colour) or stretch")
    sixteen_bit_maximum: int | None = Field(
        ge=255, le=65535, description="the 16-bit value that is white, such as 4095 for photos of 12 bits; or empty"
    )
    group_pattern: str | None = Field(description="regular expression: the part of a path that photos of one share")
    groups: FilePath | None = Field(description="a table of groups, in place of a pattern")
    group_copies: bool = Field(description="whether photos that look alike are one group")
    split: Literal["given", "made"] = Field(description="given by train/ and test/ folders, or made of whole groups")
    # A made test set is at least one part of 20 (folds.MAX_TEST_PARTS).
    test_fraction: float = Field(ge=0.05, le=0.5, description="chance of a group to be in a test set that is made")
    num_folds: int = Field(ge=2, le=20, description="folds of the training photos")
    min_images: int = Field(description="fewest training photos that a class may have")
    max_broken_fraction: float = Field(ge=0, le=1, description="fraction of unreadable photos to tolerate")
    seed: int = Field(description="seed of test set and folds")
    class_names: dict[str, str] = Field(description="of classes whose folder has another name than the class")
    class_level: int = Field(ge=1, le=20, description="how many folders down the classes are; 1 for those at the top")
    labels: LabelTable | None = Field(description="a table of labels, in place of class folders")
    left_out: list[str] = Field(description="folders or classes that the study does not use")
    ignore: list[str] = Field(description="patterns of paths to leave out, such as `*_mask.png`")

    def __post_init__(self) -> None:
        rule = f"need at least num_folds ({self.num_folds}), one image per fold"
        require(self.min_images >= self.num_folds, "min_images", self.min_images, rule)
        rule = "the table prepare.groups already says it; leave one of the two empty"
        require(self.groups is None or not self.group_pattern, "group_pattern", self.group_pattern, rule)
        try:
            re.compile(self.group_pattern or "")
        except re.error as error:
            require(False, "group_pattern", self.group_pattern, f"not a regular expression: {error}")

    @property
    def layout(self) -> Layout:
        """How the folder is read."""
        return Layout(
            class_names=self.class_names,
            class_level=self.class_level,
            labels=self.labels,
            left_out=self.left_out,
            ignore=self.ignore,
        )

    @property
    def group_level(self) -> int:
        """How many folders down a path begins that `group_pattern` is searched in."""
        return 0 if self.labels else self.class_level
