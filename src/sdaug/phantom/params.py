"""Section `phantom` of params.yaml."""

from dataclasses import dataclass

from sdaug.common.sections import require

CLASSES = ("score_1", "score_2", "score_3", "score_4")


@dataclass(frozen=True, kw_only=True)
class PhantomParams:
    """Section `phantom`: the photos to draw."""

    train_counts: dict[str, int]
    test_counts: dict[str, int]
    size_pixels: int
    zoom: float  # at 1.3 the ring has a few pixels of 48, and the VAE rounds its petals off (LOG.md)
    ring_contrast: float
    blur_pixels: float
    noise: float
    label_noise_fraction: float
    seed: int

    def __post_init__(self) -> None:
        for key, counts in (("train_counts", self.train_counts), ("test_counts", self.test_counts)):
            require(set(counts) == set(CLASSES), key, counts, f"need exactly the classes {', '.join(CLASSES)}")
            require(min(counts.values()) >= 1, key, counts, "need at least 1 photo in each class")
        require(32 <= self.size_pixels <= 512, "size_pixels", self.size_pixels, "need 32 to 512")
        require(0.5 <= self.zoom <= 2, "zoom", self.zoom, "need 0.5 to 2; at 1 a teat is half as wide as the photo")
        require(0 <= self.ring_contrast <= 1, "ring_contrast", self.ring_contrast, "need 0 to 1")
        require(0 <= self.blur_pixels <= 8, "blur_pixels", self.blur_pixels, "need 0 to 8, for a photo 64 pixels wide")
        require(0 <= self.noise <= 0.5, "noise", self.noise, "need 0 to 0.5, where 1 is white")
        require(0 <= self.label_noise_fraction <= 1, "label_noise_fraction", self.label_noise_fraction, "need 0 to 1")
        require(self.seed >= 0, "seed", self.seed, "need 0 or more")
