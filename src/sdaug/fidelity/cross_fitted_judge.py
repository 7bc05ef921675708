"""Judges: classifiers of real photos that no generator has seen, which then name the class of images.

A judge is a logistic regression on features of an ImageNet network. Judges are cross-fitted: each is trained on all
folds of these photos but one. So each photo has a judge that has not seen it, and what judges say of real photos stands
beside what they say of synthetic images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from sdaug.classify.features import Vectors
from sdaug.classify.judge import class_probabilities, train_judge
from sdaug.common.seeding import derive_seed

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Judgement:
    """Of each image, the share of its judges that name a certain class, and the mean probability they give it, `(N,)`.

    Only judges that know the class count; both are empty if there are none.

    Means over images are comparable between photos, which have one judge each, and images, which have all: they are
    those of a single judge, not of a vote.
    """

    recognized: Vectors
    probability: Vectors

    def means(self) -> tuple[float | None, float | None]:
        """Both means over all images; None if there are no images or no judges."""
        if not len(self.recognized):
            return None, None
        return float(self.recognized.mean()), float(self.probability.mean())


class Judges:
    """One judge per fold of the held-out photos."""

    def __init__(
        self,
        sharp: Vectors,
        reconstructed: Vectors,
        labels: Labels,
        groups: Sequence[str],
        classes: Sequence[str],
        *,
        num_folds: int,
        seed: int,
    ) -> None:
        """Train on features `(N, D)` of held-out photos as they are, and as the VAE returns them.

        Raises:
            ValueError: no class has photos of `num_folds` groups.
        """
        self._labels, self._classes = labels, list(classes)
        self._folds = assign_folds(labels, groups, num_folds=num_folds, seed=seed)
        self._judges = []
        for fold in range(num_folds):
            rest = self._folds != fold
            # A judge of sharp photos alone takes the softness of all generated images for a class: one knew 83 % of the
            # photos of score 3, but only 11 % of their reconstructions (git show 6c2e805).
            self._judges.append(
                train_judge(np.concatenate([sharp[rest], reconstructed[rest]]), np.tile(labels[rest], 2))
            )

    def of_images(self, images: Vectors, label: str) -> Judgement:
        """What all judges that know the class say of synthetic images, given by their features `(M, D)`."""
        k = self._classes.index(label)
        able = [judge for judge in self._judges if k in judge.classes_]
        if not able:
            return Judgement(recognized=np.empty(0), probability=np.empty(0))
        said = np.stack([class_probabilities(judge, images, len(self._classes)) for judge in able])
        is_named = said.argmax(axis=2) == k
        return Judgement(recognized=is_named.mean(axis=0), probability=said[:, :, k].mean(axis=0))

    def of_photos(self, photos: Vectors, label: str) -> Judgement:
        """What judges that never saw them say of the photos of a class; `photos` are features of all, `(N, D)`.

        Nothing where these photos are all in one fold, as those of a single group are: no judge that has not seen them
        knows the class.
        """
        k = self._classes.index(label)
        said, is_judged = np.empty((len(photos), len(self._classes))), np.zeros(len(photos), dtype=np.bool_)
        for fold, judge in enumerate(self._judges):
            own = (self._folds == fold) & (self._labels == k)
            if own.any() and k in judge.classes_:
                said[own] = class_probabilities(judge, photos[own], len(self._classes))
                is_judged |= own
        of_class = said[is_judged]
        is_named = of_class.argmax(axis=1) == k
        return Judgement(recognized=is_named.astype(np.float64), probability=of_class[:, k])


def assign_folds(labels: Labels, groups: Sequence[str], *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each photo, `(N,)`: stratified by class, groups are kept whole.

    Raises:
        ValueError: no class has photos of `num_folds` groups.
    """
    most = max(len({g for g, k in zip(groups, labels, strict=True) if k == label}) for label in np.unique(labels))
    if most < num_folds:
        raise ValueError(
            f"params.yaml: fidelity.judge_folds: {num_folds}; the held-out photos of a class have at most {most} "
            "groups; lower judge_folds"
        )
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    for fold, (_, members) in enumerate(splitter.split(labels, labels, groups)):
        folds[members] = fold
    return folds
