"""Section `prepare` of params.yaml."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sdaug.common.params import Square
from sdaug.common.sections import require
from sdaug.photos.layout import LabelTable, Layout


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """Section `prepare`: how raw photos are prepared."""

    raw: Path
    size_pixels: int
    square: Square
    sixteen_bit_maximum: int | None  # the 16-bit value that is white, in files that do not state it
    group_pattern: str | None
    split: Literal["given", "made"]
    test_fraction: float
    num_folds: int
    min_images: int
    max_broken_fraction: float
    seed: int
    groups: Path | None = None  # a table of groups, in place of a pattern
    group_copies: bool = True  # photos that look alike are one group
    class_names: dict[str, str] = field(default_factory=dict)  # of classes whose folder has another name than the id
    class_level: int = 1  # how many folders down the classes are, not counting train/ and the like
    labels: LabelTable | None = None  # a table of labels, in place of class folders
    left_out: list[str] = field(default_factory=list)  # folders, or classes of a table, that the study does not use
    ignore: list[str] = field(default_factory=list)  # patterns of paths, such as `*_mask.png`

    def __post_init__(self) -> None:
        is_size = 32 <= self.size_pixels <= 1024 and self.size_pixels % 8 == 0
        require(is_size, "size_pixels", self.size_pixels, "need a multiple of 8 from 32 to 1024")
        # A made test set is at least one part of 20 (folds.MAX_TEST_PARTS).
        require(0.05 <= self.test_fraction <= 0.5, "test_fraction", self.test_fraction, "need 0.05 to 0.5")
        require(2 <= self.num_folds <= 20, "num_folds", self.num_folds, "need 2 to 20")
        rule = f"need at least num_folds ({self.num_folds}), one image per fold"
        require(self.min_images >= self.num_folds, "min_images", self.min_images, rule)
        require(0 <= self.max_broken_fraction <= 1, "max_broken_fraction", self.max_broken_fraction, "need 0 to 1")
        require(1 <= self.class_level <= 20, "class_level", self.class_level, "need 1 (the folders at the top) to 20")
        rule = "the table prepare.groups already says it; leave one of the two empty"
        require(self.groups is None or not self.group_pattern, "group_pattern", self.group_pattern, rule)
        is_maximum = self.sixteen_bit_maximum is None or 255 <= self.sixteen_bit_maximum <= 65535
        rule = "need 255 to 65535 (4095 for photos of 12 bits)"
        require(is_maximum, "sixteen_bit_maximum", self.sixteen_bit_maximum, rule)
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
