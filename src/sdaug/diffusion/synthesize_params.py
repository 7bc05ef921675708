"""The knobs of the `synthesize` stage."""

from dataclasses import dataclass

from sdaug.diffusion.choices import SamplerName
from sdaug.names import PrecisionName
from sdaug.params import require


@dataclass(frozen=True, kw_only=True)
class SynthesizeParams:
    """Section `synthesize`: how each rare class's images are drawn."""

    negative_prompt: str
    num_images: int | None
    multiple_of_missing: float
    guidance_scale: float
    inference_steps: int
    sampler: SamplerName
    height: int
    width: int
    batch_size: int
    precision: PrecisionName
    seed: int

    def __post_init__(self) -> None:
        is_fit = self.num_images is None or self.num_images >= 1
        require(is_fit, "num_images", self.num_images, "need 1 or more, or nothing for a multiple of the missing ones")
        require(
            0 < self.multiple_of_missing <= 10, "multiple_of_missing", self.multiple_of_missing, "need over 0 to 10"
        )
        require(self.guidance_scale >= 1, "guidance_scale", self.guidance_scale, "need 1 (no guidance) or more")
        for key in ("inference_steps", "batch_size"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        has_enough = self.sampler != "pndm" or self.inference_steps >= 4
        require(has_enough, "inference_steps", self.inference_steps, "need 4 or more for pndm")
        for key in ("height", "width"):
            size = getattr(self, key)
            require(size >= 32 and size % 8 == 0, key, size, "need a multiple of 8, 32 or more")

    def count(self, num_missing: int) -> int:
        """How many images a class gets that lacks so many to the largest one."""
        return round(num_missing * self.multiple_of_missing) if self.num_images is None else self.num_images
