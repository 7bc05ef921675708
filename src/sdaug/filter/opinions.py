"""How likely each synthetic image shows its class, for a judge that was trained on the generators' own photos.

Arms can keep the best images by this (`images.keep_share`). The judge sees no photo of validation or test, and shares
none with the judges of the stage `fidelity`, so these can still measure what a filter brings.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdaug.classify.features import FeatureNetwork, Images, Vectors
from sdaug.classify.judge import class_probabilities, train_judge
from sdaug.common.drawn import Drawn


@dataclass(frozen=True, kw_only=True)
class TrainingPhotos:
    """Photos `(N, H, W, 3)` that generators may see, the same as the VAE returns them, and class indices `(N,)`."""

    pixels: Images
    reconstructed: Images
    labels: NDArray[np.int64]


class Filter:
    """A judge of training photos."""

    def __init__(self, photos: TrainingPhotos, classes: Sequence[str]) -> None:
        self._network, self._classes = FeatureNetwork(photos.pixels.shape[1]), list(classes)
        # Soft photos too, or the judge would take the softness of all generated images for a class.
        both = np.concatenate([photos.pixels, photos.reconstructed])
        self._judge = train_judge(self._network.features(both), np.tile(photos.labels, 2))

    def probabilities(self, images: Images) -> Vectors:
        """The class probabilities `(M, K)` of images `(M, H, W, 3)`."""
        return class_probabilities(self._judge, self._network.features(images), len(self._classes))


def opinion_rows(images: Sequence[Drawn], probabilities: Vectors, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per image: its class and draw, what the judge takes it for, and the probability of its own class.

    The draw is empty for images from elsewhere.
    """
    return [
        {
            "id": image.id,
            "label": image.label,
            "draw": "" if image.draw is None else image.draw,
            "variant": image.variant,
            "named": classes[int(row.argmax())],
            "probability": round(float(row[classes.index(image.label)]), 6),
        }
        for image, row in zip(images, probabilities, strict=True)
    ]


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of one class's images: number, number by draw, share taken for the class, and quartiles of the probability."""
    probabilities = np.array([row["probability"] for row in rows])
    low, middle, high = np.quantile(probabilities, (0.25, 0.5, 0.75))
    of_draws = Counter(str(row["draw"]) for row in rows)
    return {
        "num_images": len(rows),
        "num_of_draw": dict(of_draws),
        "recognized": float(np.mean([row["named"] == row["label"] for row in rows])),
        "probability": {"quarter": float(low), "half": float(middle), "three_quarters": float(high)},
    }
