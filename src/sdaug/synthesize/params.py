"""Section `synthesize` of params.yaml."""

from dataclasses import asdict, dataclass
from typing import Any

from sdaug.common.params import SynthesisDrawing
from sdaug.common.sections import check_name, convert, require
from sdaug.common.synthetic import PLAIN


@dataclass(frozen=True, kw_only=True)
class SynthesizeParams:
    """Section `synthesize`: the number of images per rare class, and how they are sampled.

    An entry of `variants` names what differs from `drawing`; it gives further images, from the same generators.
    """

    num_images: int | None
    multiple_of_missing: float
    drawing: SynthesisDrawing
    variants: dict[str, dict[str, Any]]
    min_images: int = 0  # per class, however few it lacks; only arms with `per_class` need it

    def __post_init__(self) -> None:
        is_fit = self.num_images is None or self.num_images >= 1
        require(is_fit, "num_images", self.num_images, "need 1 or more, or leave it empty to use multiple_of_missing")
        multiple = self.multiple_of_missing
        require(0 < multiple <= 10, "multiple_of_missing", multiple, "need more than 0, at most 10")
        is_fit = self.min_images == 0 or (self.min_images > 0 and self.num_images is None)
        require(is_fit, "min_images", self.min_images, "need 0 or more, and 0 beside num_images")
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
