"""Key `images` of the entries in section `datasets` of params.yaml."""

from dataclasses import dataclass

from sdaug.common.sections import require
from sdaug.common.synthetic import PLAIN


@dataclass(frozen=True, kw_only=True)
class ArmImages:
    """`datasets.<arm>.images`: the images of an arm; by default only the real photos.

    `synthetic`, `duplicated` (photos repeated) and `oracle` (further phantom photos) are multiples of the number of
    images that each class lacks to match the largest one.

    `per_class` is a number of synthetic images instead, the same for every class that has a generator, so that the
    class cannot be told from how often it is synthetic. Synthetic images are those of one `variant`; of these, only the
    share is used that the stage `filter` thinks best of, separately for each class and draw.
    """

    real: bool = True
    synthetic: float = 0.0  # 0.25 and 0.5 did less harm than 1 and 2 (LOG.md, 2026-11-23)
    duplicated: float = 0.0  # 1.0 has as many images as synthetic: 1.0, and none that is new (PMLR 318:954)
    per_class: int = 0
    variant: str = PLAIN
    keep_share: float = 1.0
    shuffle_labels: bool = False
    oracle: float = 0.0  # 1.0 took ResNet-18 from 50.5 to 70.1 % balanced accuracy (LOG.md, 2026-11-23)
    reconstructed: bool = False  # packs the photos as the base's VAE returns them, too, for `training.soften`

    @property
    def has_synthetic(self) -> bool:
        """Whether the arm has synthetic images."""
        return self.synthetic > 0 or self.per_class > 0

    @property
    def has_further(self) -> bool:
        """Whether the arm has more images than photos."""
        return self.has_synthetic or self.duplicated > 0 or self.oracle > 0

    def __post_init__(self) -> None:
        for key in ("synthetic", "duplicated", "oracle"):
            require(0 <= getattr(self, key) <= 100, key, getattr(self, key), "need 0 to 100 times the missing images")
        require(0 < self.keep_share <= 1, "keep_share", self.keep_share, "need more than 0, at most 1 (all)")
        require(self.per_class >= 0, "per_class", self.per_class, "need 0 (none) or more")
        is_one = not (self.per_class and self.synthetic)
        require(is_one, "per_class", self.per_class, f"need synthetic: 0 beside it, and it is {self.synthetic}")
        require(self.real or self.has_synthetic, "real", self.real, "without synthetic images nothing is left")
        require(self.real or not self.duplicated, "duplicated", self.duplicated, "there are no photos to repeat")
        require(self.has_synthetic or not self.shuffle_labels, "shuffle_labels", True, "there are no synthetic labels")
