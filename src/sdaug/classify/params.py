"""What describes a classifier: its architecture and how it is built; `recipe` and `classifiers` of params.yaml."""

from typing import Any

from pydantic import Field

from sdaug.common.sections import Checked, require, section

CUSTOM = "custom"
PRIOR_CORRECTED = "prior_corrected"  # the arm that costs no training; so its scores begin in a run's metrics, too


@section
class ModelParams(Checked):
    """The part of section `recipe` that says how classifiers are built.

    The card of a pretrained model names the commit of the weights that were loaded.
    """

    options: dict[str, Any] = Field(description="passed to timm.create_model")
    pretrained: bool = Field(description="whether to start from timm's weights")
    revision: str | None = Field(
        description="branch, tag or commit of pretrained weights on the hub; empty for the latest"
    )
    freeze_backbone: bool = Field(description="whether only the head learns")
    dropout: float = Field(ge=0, lt=1, description="before the head; 0 for none")
    drop_path: float = Field(ge=0, lt=1, description="stochastic depth; 0 for none")
    image_size: int = Field(ge=16, le=1024, description="pixels to which images are resized")

    def __post_init__(self) -> None:
        rule = "without pretrained weights the head would train on random features; set pretrained: true"
        require(self.pretrained or not self.freeze_backbone, "freeze_backbone", True, rule)
        rule = "only pretrained weights have one; set pretrained: true or leave it out"
        require(self.revision is None or self.pretrained, "revision", self.revision, rule)


@section
class ModelRecipe(ModelParams):
    """How one classifier is built."""

    architecture: str = Field(description="one of timm's names, or custom")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture == CUSTOM:
            require(not self.pretrained, "pretrained", True, "custom has no pretrained weights; set pretrained: false")
            for key in ("dropout", "drop_path"):
                require(not getattr(self, key), key, getattr(self, key), "custom has none; need 0")
