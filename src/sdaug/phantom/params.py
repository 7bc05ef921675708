"""Section `phantom` of params.yaml."""

from pydantic import Field

from sdaug.common.sections import Checked, require, section

CLASSES = ("score_1", "score_2", "score_3", "score_4")


@section
class PhantomParams(Checked):
    """Section `phantom`: the photos to draw."""

    train_counts: dict[str, int] = Field(description="training photos of each class")
    test_counts: dict[str, int] = Field(description="test photos of each class")
    size_pixels: int = Field(ge=32, le=512, description="width and height of a photo")
    # At 1.3 the ring has a few pixels of 48, and the VAE rounds its petals off (docs/log-2026-11.md).
    zoom: float = Field(ge=0.5, le=2, description="how close the camera is; at 1 a teat is half as wide as the photo")
    ring_contrast: float = Field(ge=0, le=1, description="contrast between ring and skin")
    blur_pixels: float = Field(ge=0, le=8, description="standard deviation of camera blur, for a photo 64 pixels wide")
    noise: float = Field(ge=0, le=0.5, description="standard deviation of sensor noise, where 1 is white")
    label_noise_fraction: float = Field(ge=0, le=1, description="fraction of photos whose label is one score off")
    seed: int = Field(ge=0, description="seed of all photos")

    def __post_init__(self) -> None:
        for key, counts in (("train_counts", self.train_counts), ("test_counts", self.test_counts)):
            require(set(counts) == set(CLASSES), key, counts, f"need exactly the classes {', '.join(CLASSES)}")
            require(min(counts.values()) >= 1, key, counts, "need at least 1 photo in each class")
