"""Key `images` of section `arm` of params.yaml, and of the entries of `datasets`."""

from pydantic import Field

from sdaug.common.sections import Checked, require, section


@section
class ArmImages(Checked):
    """`arm.images` with what `datasets.<arm>.images` changes: the images of an arm.

    `synthetic`, `duplicated` and `oracle` are multiples of the number of images that each class lacks to match the
    largest one.

    `per_class` is a number of synthetic images instead, the same for every class that has a generator, so that the
    class cannot be told from how often it is synthetic. Synthetic images are those of one `variant`; of these, only the
    share is used that the stage `filter` thinks best of, separately for each class and draw. `external` takes images
    from elsewhere in place of them; how many is said in the same ways, and is 1 times what is missing if nothing is.
    """

    real: bool = Field(description="whether the arm has the real photos")
    # 0.25 and 0.5 did less harm than 1 and 2 (docs/log-2026-11.md).
    synthetic: float = Field(ge=0, le=100, description="synthetic images, as a multiple of what each class lacks")
    # 1.0 has as many images as synthetic: 1.0, and none that is new (PMLR 318:954).
    duplicated: float = Field(ge=0, le=100, description="photos repeated, as such a multiple")
    per_class: int = Field(ge=0, description="synthetic images of every class with a generator; 0 for none")
    variant: str = Field(description="how synthetic images are drawn: plain, or a variant of synthesize")
    external: str | None = Field(description="images that another tool drew: an entry of external; empty for none")
    keep_share: float = Field(gt=0, le=1, description="share of them that the filter keeps; 1 for all")
    shuffle_labels: bool = Field(description="whether they have each other's labels, a control")
    # 1.0 took ResNet-18 from 50.5 to 70.1 % balanced accuracy (docs/log-2026-11.md).
    oracle: float = Field(ge=0, le=100, description="further phantom photos, as such a multiple")
    reconstructed: bool = Field(
        description="whether photos are there as the base's VAE returns them, too, for training.soften"
    )

    @property
    def has_synthetic(self) -> bool:
        """Whether the arm has synthetic images."""
        return self.multiple > 0 or self.per_class > 0

    @property
    def multiple(self) -> float:
        """Synthetic images as a multiple of what each class lacks: 1 where images from elsewhere are named alone."""
        return 1.0 if self.external and not (self.synthetic or self.per_class) else self.synthetic

    @property
    def has_further(self) -> bool:
        """Whether the arm has more images than photos."""
        return self.has_synthetic or self.duplicated > 0 or self.oracle > 0

    def __post_init__(self) -> None:
        is_one = not (self.per_class and self.synthetic)
        require(is_one, "per_class", self.per_class, f"need synthetic: 0 beside it, and it is {self.synthetic}")
        require(self.real or self.has_synthetic, "real", self.real, "without synthetic images nothing is left")
        require(self.real or not self.duplicated, "duplicated", self.duplicated, "there are no photos to repeat")
        require(self.has_synthetic or not self.shuffle_labels, "shuffle_labels", True, "there are no synthetic labels")
