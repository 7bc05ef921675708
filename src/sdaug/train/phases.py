"""The phases of a training run: one, or two if the network learns from synthetic images alone first."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sdaug.common.seeding import derive_seed
from sdaug.train.batches import Epochs
from sdaug.train.examples import Labels, TrainingSet
from sdaug.train.params import ArmTraining, Recipe


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of training with images, settings, optimizer, learning rates and random streams of its own.

    `rows` `(M,)` are its images in the training set. The last phase has no `name`.
    """

    rows: Labels
    arm: ArmTraining
    recipe: Recipe
    name: str = ""

    def seed(self, seed: int, purpose: str) -> int:
        """The seed of a random stream: for the last phase, the same with and without a phase before it."""
        return derive_seed(seed, self.name, purpose) if self.name else derive_seed(seed, purpose)

    def epochs(self, training: TrainingSet) -> Epochs:
        """The epochs of this phase."""
        return Epochs(
            rows=self.rows,
            labels=training.labels[self.rows],
            is_synthetic=training.is_synthetic[self.rows],
            sampler=self.arm.sampler,
            synthetic_share=self.arm.synthetic_share,
            batch_size=self.recipe.batch_size,
        )


def plan_phases(training: TrainingSet, recipe: Recipe, arm: ArmTraining, *, title: str) -> list[Phase]:
    """The phases of an arm, in their order; the last one is validated.

    With `pretrain_steps`, the first phase shows synthetic images alone, each class as often as the others, and the last
    one all others alone (Qraitem et al., arXiv 2308.04553).

    Raises:
        ValueError: the batch is larger than the data set, or the arm needs images that are not there.
    """
    _require_images(training, arm, title)
    everything = np.arange(len(training))
    if not arm.pretrain_steps:
        phases = [Phase(rows=everything, arm=arm, recipe=recipe)]
    else:
        steps = arm.pretrain_steps
        # Its classes are balanced already. Photos have no part in it, so there is nothing to soften.
        balanced = replace(arm, sampler="balanced", class_weights="none", soften=0.0, pretrain_steps=0)
        warmup_steps = min(recipe.warmup_steps, steps - 1)
        cosine = replace(recipe, schedule="cosine", warmup_steps=warmup_steps, epochs=None, steps=steps)
        phases = [
            Phase(rows=everything[training.is_synthetic], arm=balanced, recipe=cosine, name="pretraining"),
            Phase(rows=everything[~training.is_synthetic], arm=replace(arm, pretrain_steps=0), recipe=recipe),
        ]
    for phase in phases:
        if recipe.batch_size > len(phase.rows):
            kind = "training" if len(phases) == 1 else "synthetic" if phase.name else "real"
            raise ValueError(
                f"params.yaml: classifiers: batch_size: {recipe.batch_size} ({title}); "
                f"there are {len(phase.rows)} {kind} images; lower batch_size"
            )
    return phases


def _require_images(training: TrainingSet, arm: ArmTraining, title: str) -> None:
    """Check what `check` cannot know: whether there are synthetic images, real ones and reconstructed ones."""
    need_both = arm.synthetic_share is not None or arm.pretrain_steps > 0
    for is_met, what, key in (
        (training.is_synthetic.any() or not need_both, "synthetic image", "images.synthetic"),
        (not training.is_synthetic.all() or not need_both, "real image", "images.real"),
        (len(training.reconstructed) > 0 or not arm.soften, "reconstruction of a photo", "images.reconstructed"),
    ):
        if not is_met:
            raise ValueError(f"params.yaml: datasets: {key}: {title}: training needs a {what}, and there is none")


def image_weights(training: TrainingSet, arm: ArmTraining) -> NDArray[np.float32] | None:
    """The weight of each image `(N,)` in the loss, None if all weigh the same."""
    if arm.synthetic_weight == 1:
        return None
    return np.where(training.is_synthetic, arm.synthetic_weight, 1.0).astype(np.float32)


def image_importance(training: TrainingSet, phase: Phase) -> NDArray[np.float64] | None:
    """How much each image of a phase `(M,)` counts in an epoch: its views times its weight; None if all count the same.

    Balanced sampling is left out: class weights come on top of it.
    """
    arm, is_synthetic = phase.arm, training.is_synthetic[phase.rows]
    if arm.synthetic_weight == 1 and arm.synthetic_share is None:
        return None
    num_views = 1.0
    if arm.synthetic_share is not None:
        num_views = phase.epochs(training).num_synthetic / int(is_synthetic.sum())
    return np.where(is_synthetic, num_views * arm.synthetic_weight, 1.0)
