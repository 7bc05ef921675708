"""The knobs of the `split` stage, apart from its code: every stage that asks who may see what reads them."""

from dataclasses import dataclass

from sdaug.manifest import Fold, Protocol
from sdaug.params import require


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: who may see what."""

    protocol: Protocol
    fold: Fold
    validation_fraction: float
    seed: int

    def __post_init__(self) -> None:
        is_valid = self.fold == "none" or self.fold >= 0
        require(is_valid, "fold", self.fold, "need 0 or more, less than prepare.num_folds, or none")
        is_fit = 0.05 <= self.validation_fraction <= 0.5
        require(is_fit, "validation_fraction", self.validation_fraction, "need 0.05 to 0.5")


@dataclass(frozen=True, kw_only=True)
class ArmImages:
    """`datasets.<arm>.images`: what an arm holds; what is left out is the real photos alone.

    `synthetic` and `oracle` (further photos of the phantom) are multiples of what each class lacks to the largest.
    """

    real: bool = True
    synthetic: float = 0.0
    shuffle_labels: bool = False
    oracle: float = 0.0

    def __post_init__(self) -> None:
        for key in ("synthetic", "oracle"):
            require(0 <= getattr(self, key) <= 100, key, getattr(self, key), "need 0 to 100 times the missing images")
        require(self.real or self.synthetic > 0, "real", self.real, "without synthetic images nothing is left")
        require(self.synthetic > 0 or not self.shuffle_labels, "shuffle_labels", True, "there are no synthetic labels")
