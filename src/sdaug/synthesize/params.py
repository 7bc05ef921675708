"""The section `synthesize`."""

from dataclasses import dataclass

from sdaug.common.params import Drawing
from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class SynthesizeParams:
    """Section `synthesize`: how many images each rare class gets, and how they are drawn."""

    num_images: int | None
    multiple_of_missing: float
    drawing: Drawing
    seed: int

    def __post_init__(self) -> None:
        is_fit = self.num_images is None or self.num_images >= 1
        require(is_fit, "num_images", self.num_images, "need 1 or more, or nothing for a multiple of the missing ones")
        multiple = self.multiple_of_missing
        require(0 < multiple <= 10, "multiple_of_missing", multiple, "need more than 0, at most 10")

    def count(self, num_missing: int) -> int:
        """How many images a class gets that has so many fewer than the largest one."""
        return round(num_missing * self.multiple_of_missing) if self.num_images is None else self.num_images
