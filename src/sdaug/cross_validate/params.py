"""Section `cross_validate` of params.yaml."""

from pydantic import Field, NonNegativeInt

from sdaug.common.sections import Checked, require, section


@section
class CrossValidateParams(Checked):
    """Section `cross_validate`: the further values of `split.fold` on which the whole study is run."""

    folds: list[NonNegativeInt] = Field(description="further validation folds; [] for none")

    def __post_init__(self) -> None:
        require(len(set(self.folds)) == len(self.folds), "folds", self.folds, "need different ones")
