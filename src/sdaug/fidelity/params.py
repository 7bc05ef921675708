"""Section `fidelity` of params.yaml."""

from dataclasses import dataclass

from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class FidelityParams:
    """Section `fidelity`: how synthetic images are measured."""

    num_images: int
    judge_folds: int
    nearest_k: int
    seed: int

    def __post_init__(self) -> None:
        require(self.num_images >= 1, "num_images", self.num_images, "need 1 or more")
        # With many folds the judges take minutes to train.
        require(2 <= self.judge_folds <= 10, "judge_folds", self.judge_folds, "need 2 to 10")
        require(self.nearest_k >= 1, "nearest_k", self.nearest_k, "need 1 or more")
