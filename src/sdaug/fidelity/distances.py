"""Distances between a class's images and its photos in the features of an ImageNet network.

Features have length 1, so that no image outweighs the others. Below `MIN_IMAGES` photos or images nothing is measured:
of 29, one image is 3 points of a share, and the standard error of a share is up to 9 points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from sdaug.classify.features import Vectors
from sdaug.common.seeding import numpy_stream

MIN_IMAGES = 30
NUM_RESAMPLES = 1000
PHOTOS_PER_NEIGHBOUR = 10


@dataclass(frozen=True)
class KernelDistance:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def distance_measures(
    photos: Vectors, others: Mapping[str, Vectors], *, nearest_k: int, seed: int
) -> dict[str, dict[str, Any]]:
    """All distances of each kind of images to a class's photos; None where either are too few."""
    names = ("kernel_distance", "kernel_distance_low", "kernel_distance_high")
    nothing = dict.fromkeys((*names, "k", "precision", "recall", "density", "coverage"))
    measured: dict[str, dict[str, Any]] = {}
    for kind, images in others.items():
        measured[kind] = {"num_images": len(images), **nothing}
        if min(len(photos), len(images)) >= MIN_IMAGES:
            found = kernel_distance(photos, images, numpy_stream(seed, "kernel distance", kind))
            k = fitted_k(nearest_k, photos, images)
            figures = dict(zip(names, (found.value, found.low, found.high), strict=True))
            measured[kind] |= {**figures, "k": k, **neighbour_scores(photos, images, k=k)}
    return measured


def kernel_distance(photos: Vectors, images: Vectors, stream: np.random.Generator) -> KernelDistance:
    """The unbiased squared maximum mean discrepancy (Gretton et al., JMLR 2012), with kernel (x.y + 1)^3.

    Its form is that of the kernel inception distance (Binkowski et al., arXiv 1801.01401), but its features are not
    Inception's, so values differ. Two samples of one distribution give 0 on average, so values can be negative.

    The interval is a bootstrap over photos and over images. The distance is a U-statistic, a mean over pairs of two
    different images. A plain bootstrap would pair copies of one image with each other, which makes it too large. Here a
    resample is a set of weights, and the pairs are still those of different images, so its mean is the estimate. The
    bootstrap of a U-statistic is consistent while the distributions differ (Arcones and Gine, Annals of Statistics
    1992). In simulations from the default study's features the interval held the true distance in 93 % of cases, and in
    99 % or more where the distributions were equal: there it is too wide (git show c8fdb46).

    Raises:
        ValueError: fewer than ten photos or images.
    """
    # Of a few images, a resample may hold one image only, which has no pairs.
    if min(len(photos), len(images)) < 10:
        raise ValueError(f"kernel distance of {len(photos)} photos and {len(images)} images; need 10 or more of each")
    own = [_kernel(x, x) for x in (photos, images)]
    for kernel in own:
        np.fill_diagonal(kernel, 0.0)
    between = _kernel(photos, images)
    value = _distance(own, between, [np.ones((1, len(x))) for x in (photos, images)])
    weights = [_resample(len(x), stream) for x in (photos, images)]
    low, high = np.percentile(_distance(own, between, weights), [2.5, 97.5])
    return KernelDistance(float(value[0]), float(low), float(high))


def neighbour_scores(photos: Vectors, images: Vectors, *, k: int) -> dict[str, float]:
    """How well images `(M, D)` and photos `(N, D)` cover each other.

    Balls around each photo (or image) reach to its k-th neighbour among the others. Precision is the share of images
    within the ball of any photo, recall the share of photos within the ball of any image (Kynkaanniemi et al.,
    arXiv 1904.06991). Density is the mean number of photos' balls that hold an image, over k; coverage is the share of
    photos whose ball holds an image (Naeem et al., arXiv 2002.09797). Images that cannot be told from photos have
    density 1, on average.
    """
    distances = pairwise_distances(photos, images)
    is_near_photo = distances <= _radii(photos, k)[:, None]
    is_near_image = distances <= _radii(images, k)[None, :]
    return {
        "precision": float(is_near_photo.any(axis=0).mean()),
        "recall": float(is_near_image.any(axis=1).mean()),
        "density": float(is_near_photo.sum(axis=0).mean() / k),
        "coverage": float(is_near_photo.any(axis=1).mean()),
    }


def fitted_k(k: int, photos: Vectors, images: Vectors) -> int:
    """The number of neighbours: `k`, but no more than a tenth of the photos or images.

    A ball around one of a few photos would else span much of the class, and hold images that look like none of it.
    """
    return max(1, min(k, len(photos) // PHOTOS_PER_NEIGHBOUR, len(images) // PHOTOS_PER_NEIGHBOUR))


def _kernel(first: Vectors, second: Vectors) -> Vectors:
    kernel: Vectors = polynomial_kernel(first, second, degree=3, gamma=1.0, coef0=1.0)
    return kernel


def _resample(size: int, stream: np.random.Generator) -> Vectors:
    """How often each of `size` images is drawn in each resample, `(R, size)`."""
    return stream.multinomial(size, np.full(size, 1.0 / size), size=NUM_RESAMPLES).astype(np.float64)


def _distance(own: list[Vectors], between: Vectors, weights: list[Vectors]) -> NDArray[np.float64]:
    """The distance under each of R weightings `(R, N)` and `(R, M)` of photos and images; `own` has no diagonal."""
    within = [
        ((w @ kernel) * w).sum(axis=1) / (w.sum(axis=1) ** 2 - (w**2).sum(axis=1))
        for kernel, w in zip(own, weights, strict=True)
    ]
    of_photos, of_images = weights
    across = ((of_photos @ between) * of_images).sum(axis=1) / (of_photos.sum(axis=1) * of_images.sum(axis=1))
    distance: NDArray[np.float64] = within[0] + within[1] - 2.0 * across
    return distance


def _radii(points: Vectors, k: int) -> Vectors:
    """The distance of each point to its k-th neighbour among the others, `(N,)`."""
    # Without an argument, `kneighbors` leaves out the point itself.
    distances, _ = NearestNeighbors(n_neighbors=k).fit(points).kneighbors()
    radii: Vectors = distances[:, -1]
    return radii
