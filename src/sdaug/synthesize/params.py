"""Section `synthesize` of params.yaml."""

from dataclasses import dataclass

from sdaug.common.params import Drawing
from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class SynthesizeParams:
    """Section `synthesize`: the number of images per rare class, and how they are sampled."""

    num_images: int | None
    multiple_of_missing: float
    drawing: Drawing

    def __post_init__(self) -> None:
        is_fit = self.num_images is None or self.num_images >= 1
        require(is_fit, "num_images", self.num_images, "need 1 or more, or leave it empty to use multiple_of_missing")
        multiple = self.multiple_of_missing
        require(0 < multiple <= 10, "multiple_of_missing", multiple, "need more than 0, at most 10")

    def count(self, num_missing: int) -> int:
        """The number of images for a class that has `num_missing` fewer photos than the largest one."""
        return round(num_missing * self.multiple_of_missing) if self.num_images is None else self.num_images
