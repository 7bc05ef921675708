"""Which images look alike: distances as the stage `fidelity` measures them, for all pairs, where it lists the closest.

Photos are compared as the base's VAE returns them, since each synthetic image comes from the VAE too. All synthetic
images and training photos are measured once, and again when their files have changed.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from sklearn.metrics import pairwise_distances

from sdaug.classify.features import FeatureNetwork, Vectors
from sdaug.common.images import read_pngs
from sdaug.diffusion.latents import reconstruct
from sdaug.fidelity.copies import EPSILON, NUM_OTHERS
from sdaug.page.image_table import Entry, Images, Nearest, seen_photos
from sdaug.page.orders import Artist
from sdaug.page.study_folder import BASE, FALLBACK

CHUNK = 64  # images read at once
Hear = Callable[[float, str], object]  # the share that is done, and of what


class Neighbours:
    """Features of the images of one study, measured when first asked for."""

    def __init__(self, artist: Artist) -> None:
        self.artist = artist
        self._network: FeatureNetwork | None = None
        self._known: dict[str, tuple[int, Vectors]] = {}
        self._lock = threading.Lock()

    def nearest_synthetic(self, images: Images, photo: Entry, *, count: int, hear: Hear) -> list[tuple[Entry, float]]:
        """The synthetic images nearest to a photo, with their distances.

        Raises:
            FileNotFoundError: there is no base whose VAE the photo could pass.
        """
        synthetic = [entry for entry in images.entries.values() if entry.image]
        if not synthetic:
            return []
        with self._lock:
            theirs, own = self._features(synthetic, hear), self._features([photo], hear)
        distances = pairwise_distances(own[0], theirs[:, 0]).min(axis=0)
        return [(synthetic[n], float(distances[n])) for n in np.argsort(distances, kind="stable")[:count]]

    def knows_photos(self, images: Images) -> bool:
        """Whether the training photos have been measured."""
        return all(photo.id in self._known for photo in seen_photos(self.artist.folder) if photo.id in images.entries)

    def nearest_photos(self, images: Images, synthetic: Entry, *, count: int, hear: Hear) -> list[tuple[Entry, float]]:
        """The training photos nearest to a synthetic image, with their distances."""
        photos, distances = self._to_photos(images, [synthetic], hear)
        return [(photos[n], float(distances[0, n])) for n in np.argsort(distances[0], kind="stable")[:count]]

    def with_nearest(self, images: Images, hear: Hear) -> Images:
        """The table with the nearest training photo of every synthetic image."""
        synthetic = [entry for entry in images.entries.values() if entry.image]
        if not synthetic:
            return images
        photos, distances = self._to_photos(images, synthetic, hear)
        ordered = np.sort(distances, axis=1)
        ratios = ordered[:, 0] / (ordered[:, 1 : 1 + NUM_OTHERS].mean(axis=1) + EPSILON)
        found = {
            entry.id: Nearest(
                photo=photos[row.argmin()].id, distance=round(float(row.min()), 6), ratio=round(float(ratio), 6)
            )
            for entry, row, ratio in zip(synthetic, distances, ratios, strict=True)
        }
        return replace(images, entries=_filled(images.entries, found))

    def _to_photos(self, images: Images, synthetic: Sequence[Entry], hear: Hear) -> tuple[list[Entry], Vectors]:
        """The photos that the generators have seen, and the distances `(N, M)` of synthetic images to them."""
        photos = [images.entries[photo.id] for photo in seen_photos(self.artist.folder)]
        with self._lock:
            own, theirs = self._features(synthetic, hear)[:, 0], self._features(photos, hear)
        # Generators also learn mirrored photos.
        distances: Vectors = np.minimum(*(pairwise_distances(own, theirs[:, side]) for side in (0, 1)))
        return photos, distances

    def _features(self, entries: Sequence[Entry], hear: Hear) -> Vectors:
        """Features of images of one kind: `(N, 1, D)`, of photos `(N, 2, D)`, with those of their mirror images."""
        stamps = {entry.id: entry.path.stat().st_mtime_ns for entry in entries}
        missing = [entry for entry in entries if self._known.get(entry.id, (None,))[0] != stamps[entry.id]]
        for first in range(0, len(missing), CHUNK):
            hear(first / len(missing), f"measuring {len(missing)} images, once")
            chunk = missing[first : first + CHUNK]
            for entry, vectors in zip(chunk, self._measure(chunk), strict=True):
                self._known[entry.id] = (stamps[entry.id], vectors)
        return np.stack([self._known[entry.id][1] for entry in entries])

    def _measure(self, entries: Sequence[Entry]) -> Vectors:
        pixels = read_pngs([entry.path for entry in entries])
        if self._network is None:
            self._network = FeatureNetwork(pixels.shape[1])
        if entries[0].image is not None:
            return self._network.features(pixels)[:, None]
        decoded = reconstruct(self.artist.load(BASE, FALLBACK_FP32).vae, pixels)
        return np.stack([self._network.features(decoded), self._network.features(decoded[:, :, ::-1])], axis=1)


FALLBACK_FP32 = replace(FALLBACK, precision="fp32")  # as `fidelity` has the VAE


def _filled(entries: Mapping[str, Entry], found: Mapping[str, Nearest]) -> dict[str, Entry]:
    return {key: replace(entry, nearest=found.get(key, entry.nearest)) for key, entry in entries.items()}
