"""All measures of the synthetic images of one class, against the photos of the whole study."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from sdaug.classify.features import FeatureNetwork, Images, Vectors
from sdaug.common.drawn import Drawn
from sdaug.common.manifest import Photo
from sdaug.common.seeding import numpy_stream
from sdaug.diffusion.latents import reconstruct
from sdaug.fidelity.copies import CopyDetector, Nearest, plant_copies
from sdaug.fidelity.cross_fitted_judge import Judgement, Judges
from sdaug.fidelity.distances import distance_measures
from sdaug.fidelity.params import FidelityParams
from sdaug.fidelity.photo_parts import PhotoPart

NUM_PAIRS = 10  # closest pairs of a class that are listed
NUM_PLANTED = 32  # training photos of a class that are altered and planted as copies


class Yardsticks:
    """What all classes are measured against: judges, features of the photos, and a detector of copies."""

    def __init__(
        self,
        training: PhotoPart,
        held_out: PhotoPart,
        vae: AutoencoderKL,
        classes: Sequence[str],
        params: FidelityParams,
    ) -> None:
        """Train judges on the held-out photos, and take features of all photos as the VAE returns them."""
        self.params, self.classes, self.training, self.held_out = params, list(classes), training, held_out
        self.network = FeatureNetwork(training.pixels.shape[1])
        self.sharp = self.network.features(held_out.pixels)
        self.reconstructed = self.network.features(held_out.reconstructed)
        self.seen = self.network.features(training.reconstructed)
        mirrored = self.network.features(training.reconstructed[:, :, ::-1])
        self.judges = Judges(
            self.sharp,
            self.reconstructed,
            held_out.labels,
            held_out.groups,
            classes,
            num_folds=params.judge_folds,
            seed=params.seed,
        )
        self.detector = CopyDetector(self.seen, mirrored, self.reconstructed)

        chosen = choose_planted(training.labels, seed=params.seed)
        self.planted_labels = training.labels[chosen]
        self.is_found = {
            name: self.detector.copies(self.network.features(reconstruct(vae, images)))
            for name, images in plant_copies(training.pixels[chosen]).items()
        }

    @property
    def copy_detection(self) -> dict[str, Any]:
        """The ratio below which an image counts as a copy, and the share of planted copies that are found."""
        found = {name: float(is_found.mean()) for name, is_found in self.is_found.items()}
        return {"threshold": self.detector.threshold, "found": found}


def measure_class(
    yardsticks: Yardsticks, images: Sequence[Drawn], before: Images | None, after: Images
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The measures of one class's images, drawn by the base and by its generators, and its closest pairs.

    `before` is None for images from elsewhere, which the base cannot draw.
    """
    label = images[0].label
    k = yardsticks.classes.index(label)
    features = {"after": yardsticks.network.features(after)}
    features["before"] = features["after"][:0] if before is None else yardsticks.network.features(before)
    verdicts = {
        "photos": yardsticks.judges.of_photos(yardsticks.sharp, label),
        "reconstructed": yardsticks.judges.of_photos(yardsticks.reconstructed, label),
        # Judges refuse to look at no images.
        "before": Judgement(recognized=np.empty(0), probability=np.empty(0)),
        **{kind: yardsticks.judges.of_images(vectors, label) for kind, vectors in features.items() if len(vectors)},
    }
    nearest = yardsticks.detector.nearest(features["after"])  # once: it compares with all training photos
    measures = {
        "num_photos": int((yardsticks.held_out.labels == k).sum()),
        "num_images": len(images),
        "judge": judge_measures(verdicts, [image.draw for image in images]),
        "distances": _distances(yardsticks, k, features),
        "copies": _copies(yardsticks, k, nearest),
    }
    return measures, closest_pairs(yardsticks.detector, nearest, images, yardsticks.training.photos)


def judge_measures(verdicts: Mapping[str, Judgement], draws: Sequence[int | None]) -> dict[str, Any]:
    """The judges' share and probability by kind of image, and the share of each draw among those `after` DreamBooth.

    None where no judge can tell.
    """
    means = {kind: verdict.means() for kind, verdict in verdicts.items()}
    after = verdicts["after"].recognized
    of_draws = {
        str(draw): float(after[[one == draw for one in draws]].mean()) if len(after) else None
        for draw in sorted({draw for draw in draws if draw is not None})
    }
    return {
        "share": {kind: share for kind, (share, _) in means.items()},
        "probability": {kind: probability for kind, (_, probability) in means.items()},
        "share_of_draw": of_draws,
    }


def closest_pairs(
    detector: CopyDetector, nearest: Nearest, images: Sequence[Drawn], training: Sequence[Photo]
) -> list[dict[str, Any]]:
    """A class's images that are nearest to one training photo compared with others, the most suspect first."""
    is_copy = detector.are_copies(nearest)
    order = sorted(range(len(images)), key=lambda i: (nearest.ratio[i], images[i].id))[:NUM_PAIRS]
    return [
        {
            "label": images[i].label,
            "draw": images[i].variant if images[i].draw is None else images[i].draw,
            "synthetic": images[i].id,
            "photo": training[nearest.index[i]].id,
            "photo_label": training[nearest.index[i]].label,
            "distance": float(nearest.distance[i]),
            "ratio": float(nearest.ratio[i]),
            "is_copy": int(is_copy[i]),
        }
        for i in order
    ]


def choose_planted(labels: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """The indices of some training photos of each class, sorted."""
    chosen = [
        numpy_stream(seed, "planted", int(k)).permutation(np.flatnonzero(labels == k))[:NUM_PLANTED]
        for k in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def _distances(yardsticks: Yardsticks, k: int, features: Mapping[str, Vectors]) -> dict[str, Any]:
    """Distances to the held-out photos of class `k`: of training photos, of sharp photos, and of drawn images."""
    own = yardsticks.held_out.labels == k
    others = {
        "photos": yardsticks.seen[yardsticks.training.labels == k],
        "sharp": yardsticks.sharp[own],
        "before": features["before"],
        "after": features["after"],
    }
    return distance_measures(
        yardsticks.reconstructed[own], others, nearest_k=yardsticks.params.nearest_k, seed=yardsticks.params.seed
    )


def _copies(yardsticks: Yardsticks, k: int, nearest: Nearest) -> dict[str, Any]:
    """The share of class `k`'s images that count as copies, and the same of its held-out photos and planted copies."""
    is_copy = {
        "photos": yardsticks.detector.copies(yardsticks.reconstructed[yardsticks.held_out.labels == k]),
        "planted": np.concatenate([found[yardsticks.planted_labels == k] for found in yardsticks.is_found.values()]),
        "after": yardsticks.detector.are_copies(nearest),
    }
    return {
        "share": {kind: float(flags.mean()) if len(flags) else None for kind, flags in is_copy.items()},
        "smallest_ratio": float(nearest.ratio.min()),
    }
