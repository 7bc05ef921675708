"""Section `fidelity` of params.yaml."""

from pydantic import Field

from sdaug.common.sections import Checked, section


@section
class FidelityParams(Checked):
    """Section `fidelity`: how synthetic images are measured."""

    num_images: int = Field(ge=1, description="images of each class that the base draws, to compare with")
    # With many folds the judges take minutes to train.
    judge_folds: int = Field(ge=2, le=10, description="parts of the held-out photos; judges of the others judge it")
    nearest_k: int = Field(ge=1, description="neighbours for precision, recall, density and coverage")
    seed: int = Field(description="seed of judges and of what the base draws")
