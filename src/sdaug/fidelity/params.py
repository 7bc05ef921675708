"""Section `fidelity` of params.yaml."""

from dataclasses import dataclass

from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class FidelityParams:
    """Section `fidelity`: how synthetic images are judged."""

    num_images: int
    seed: int

    def __post_init__(self) -> None:
        require(self.num_images >= 2, "num_images", self.num_images, "need 2 or more")
