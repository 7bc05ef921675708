"""Parameters of the cross-validation."""

from dataclasses import dataclass

from sdaug.common.sections import require


@dataclass(frozen=True, kw_only=True)
class CrossValidateParams:
    """Section `cross_validate`: the further values of `split.fold` on which the whole study is run."""

    folds: list[int]

    def __post_init__(self) -> None:
        is_valid = len(set(self.folds)) == len(self.folds) and min(self.folds, default=0) >= 0
        require(is_valid, "folds", self.folds, "need numbers from 0 on, without duplicates; [] for none")
