"""Section `synthesize` of params.yaml."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from sdaug.common.params import SynthesisDrawing
from sdaug.common.sections import Checked, check_name, convert, require, section
from sdaug.common.synthetic import PLAIN


@section
class SynthesizeParams(Checked):
    """Section `synthesize`: the number of images per rare class, and how they are sampled.

    An entry of `variants` names what differs from `drawing`; it gives further images, from the same generators.
    """

    num_images: int | None = Field(
        ge=1, le=1_000_000, description="images of each class; empty to use multiple_of_missing"
    )
    multiple_of_missing: float = Field(gt=0, le=10, description="images of each class, as a multiple of what it lacks")
    # Only arms with `per_class` need it.
    min_images: int = Field(ge=0, le=1_000_000, description="least images of each class, however few it lacks")
    shards: int = Field(ge=1, le=1000, description="parts in which other machines draw the images of a class")
    drawing: SynthesisDrawing
    variants: dict[str, dict[str, Any]] = Field(description="further images: a name for each, and what differs")

    def __post_init__(self) -> None:
        is_fit = self.min_images == 0 or self.num_images is None
        require(is_fit, "min_images", self.min_images, "need 0 beside num_images")
        for name in self.variants:
            check_name(name, where="variants")
            require(name != PLAIN, f"variants.{name}", name, "that is the name of `drawing` itself; choose another")
        precisions = {drawing.precision for drawing in self.drawings().values()}
        rule = "need one precision for all, since the weights are cast once"
        require(len(precisions) == 1, "variants", sorted(precisions), rule)

    def count(self, num_missing: int) -> int:
        """The number of images for a class that has `num_missing` fewer photos than the largest one."""
        if self.num_images is not None:
            return self.num_images
        return max(round(num_missing * self.multiple_of_missing), self.min_images)

    def drawings(self) -> dict[str, SynthesisDrawing]:
        """The settings of each variant, `plain` first.

        Raises:
            ValueError: a variant has an unknown key or an invalid value.
        """
        shared = asdict(self.drawing)
        others = {
            name: convert(shared | entry, SynthesisDrawing, f"variants.{name}") for name, entry in self.variants.items()
        }
        return {PLAIN: self.drawing, **others}
