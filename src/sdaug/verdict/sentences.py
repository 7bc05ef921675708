"""The verdict on each arm and its limits, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdaug.common.params import Protocol
from sdaug.verdict.results import BASELINE, PRIMARY, Contrast, Study
from sdaug.verdict.statistics import MIN_RUNS
from sdaug.verdict.tables import percent, plural, signed

LARGE = 0.10  # an effect that a study should see: one that cannot rule it out has decided nothing
MIN_GROUPS = 5  # of each class's test photos: with three, bf16 took a standard error from 1.9 to 5.4 (git show c8fdb46)
MIN_VALIDATION = 5  # photos of a class: with fewer, one photo is 25 points and more of what selects an epoch


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict on one arm: on what, in a few words, and with its numbers; `detail` may be empty."""

    subject: str
    effect: str
    detail: str

    @property
    def sentence(self) -> str:
        return f"{self.subject}: {self.effect}. {self.detail}".strip()


def find_verdict(study: Study) -> list[str]:
    """The finding on each arm in one sentence, by balanced accuracy on the test set, or why there is none."""
    return [finding.sentence for finding in find_findings(study)]


def find_findings(study: Study) -> list[Finding]:
    """The finding on each arm, or the reason why there is none."""
    if not study.contrasts:
        why = f"it needs the data set {BASELINE} and another; this study has {', '.join(study.datasets)}"
        return [Finding(subject="No verdict", effect=why, detail="")]
    return [_verdict_on(contrast, study) for contrast in study.answers]


def _verdict_on(contrast: Contrast, study: Study) -> Finding:
    over = plural(len(study.pooled), "model")
    return Finding(
        subject=f"{contrast.arm} against {contrast.against}",
        effect=find_effect(contrast, study),
        detail=f"Over {over} ({', '.join(study.pooled)}), balanced accuracy on the test set changed by "
        f"{signed(contrast.mean[PRIMARY])} points, accuracy by {signed(contrast.mean['test_accuracy'])}.",
    )


def find_effect(contrast: Contrast, study: Study) -> str:
    """helps, harms, no effect as large as so many points, or undecided and why."""
    estimate, num_draws = contrast.mean[PRIMARY], contrast.num_draws
    found = {"fold": len(study.folds)} if len(study.folds) > 1 else {"training run": study.num_runs}
    if num_draws is not None and len(study.folds) == 1:
        found["draw"] = num_draws
    of = {"training run": " per model", "draw": " of the generators", "fold": ""}
    reasons = [f"{plural(n, name)}{of[name]}, of {MIN_RUNS} needed" for name, n in found.items() if n < MIN_RUNS]
    label, num_groups = fewest_groups(study)
    if num_groups < MIN_GROUPS:
        reasons.append(f"{label} has test photos of {plural(num_groups, 'group')}, of {MIN_GROUPS} needed")
    if reasons:
        return f"undecided ({'; '.join(reasons)})"
    if estimate.low > 0:
        return "helps"
    if estimate.high < 0:
        return "harms"
    # Nor may it contradict what the study could have shown: an interval can be narrow by luck.
    largest = max(-estimate.low, estimate.high, estimate.detectable)
    if largest > LARGE:
        return f"undecided (an effect of {100 * largest:.0f} points cannot be ruled out)"
    return f"no effect as large as {100 * largest:.1f} points"


def _limit_of_split(study: Study) -> str:
    """What the intervals hold of the luck of the split."""
    if len(study.folds) < 2:
        return (
            "All results come from one split of the photos. With other photos to train on, the numbers would be "
            "others, and the intervals do not include that; cross_validate.folds in params.yaml does."
        )
    return (
        f"Everything was run on {len(study.folds)} folds, each time without the photos of another one, and tested on "
        "the same test photos: the intervals include the luck of which photos trained."
    )


def fewest_groups(study: Study) -> tuple[str, int]:
    """The class whose test photos come from the fewest groups, and how many."""
    groups_of: dict[str, set[str]] = {}
    for label, group in zip(study.test.labels, study.test.groups, strict=True):
        groups_of.setdefault(study.classes[label], set()).add(group)
    fewest = min(groups_of, key=lambda label: len(groups_of[label]))
    return fewest, len(groups_of[fewest])


def find_limits(
    study: Study,
    *,
    base: str,
    protocol: Protocol,
    siblings: Mapping[str, float] | None,
    selection: str,
    num_validation: Mapping[str, int],
    training: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """What limits the verdict, one sentence each.

    `base` says what the base has seen. `siblings` are the scores of guessing from groups alone. `num_validation` counts
    the real validation photos per class; `training` is what each arm says of training.
    """
    num_groups, num_images = len(set(study.test.groups)), len(study.test.ids)
    limits = [
        _limit_of_split(study),
        f"Test scores come from {num_images} images of {plural(num_groups, 'group')}. Images of one group are alike, "
        "so the intervals count groups rather than images.",
        f"{weight_of_one(study.num_test, 'test image')}.",
        base,
        *_limits_of_runs(study),
        *_limits_of_comparisons(study),
        *_limits_of_selection(selection, num_validation),
        *_limits_of_training(study, training),
    ]
    if study.contrasts and study.remedy is None:
        limits.append(
            f"All arms are compared with {BASELINE} alone: there is no simple remedy beside it, such as oversampling "
            "or class weights, or no validation set to choose one by. A simple remedy might do as well."
        )
    if protocol == "published":
        limits.append(
            "Validation scores are too good: the generators learned from the photos that validate. Compare test scores "
            "only."
        )
    if siblings is not None:
        limits.append(
            f"Test photos share groups with training photos. Guessing the most common label among the training photos "
            f"of the same group, without looking at a pixel, scores {percent(siblings['test_accuracy'])} % test "
            f"accuracy and {percent(siblings['test_balanced_accuracy'])} % balanced accuracy. A model "
            "that scores no more may have learned nothing else."
        )
    return limits


def _limits_of_runs(study: Study) -> list[str]:
    """Which models the verdict rests on, and the smallest effects that it would show."""
    limits = []
    single = [model for model in study.models if model not in study.pooled]
    if single:
        limits.append(
            f"{', '.join(single)}: fewer than {MIN_RUNS} training runs of each. How much their scores vary between "
            "runs is not known, so they have no intervals and do not count for the verdict."
        )
    return limits + [
        f"{contrast.arm} against {contrast.against}: if the true effect on balanced accuracy were "
        f"{100 * contrast.mean[PRIMARY].detectable:.1f} points, four of five such studies would find it. Smaller "
        "effects are missed more often."
        for contrast in study.contrasts
        if contrast.mean[PRIMARY].is_known
    ]


def _limits_of_comparisons(study: Study) -> list[str]:
    """How many comparisons were made: each can be a false alarm."""
    count = len(study.contrasts)
    if count < 2:
        return []
    return [
        f"The study makes {count} comparisons of arms. Each has a 5 % risk of showing an effect that is not there, and "
        "the intervals are not widened for there being several."
    ]


def _limits_of_selection(selection: str, num_validation: Mapping[str, int]) -> list[str]:
    fewest = min((count for count in num_validation.values() if count), default=MIN_VALIDATION)
    if selection not in ("balanced_accuracy", "macro_f1") or fewest >= MIN_VALIDATION:
        return []
    return [
        f"{weight_of_one(num_validation, 'validation image')}, which selects the epoch to keep. That choice is "
        "mostly chance: set train.selection to loss."
    ]


def _limits_of_training(study: Study, training: Mapping[str, Mapping[str, Any]]) -> list[str]:
    plain = training.get(BASELINE)
    if plain is None:
        return []
    return [
        f"{arm} differs from {BASELINE} in training, too: {_differing(settings, plain)}. Part of its effect may come "
        "from that."
        for arm, settings in training.items()
        if arm in study.datasets and settings != plain
    ]


def _differing(settings: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """The training settings in which two arms differ, as `loss focal instead of cross_entropy`."""
    keys = [key for key in settings if settings[key] != baseline[key]]
    return ", ".join(f"{key} {_named(settings[key])} instead of {_named(baseline[key])}" for key in keys)


def _named(value: object) -> str:
    return "none" if value is None else str(value)


def weight_of_one(counts: Mapping[str, int], unit: str) -> str:
    """How much one image of the rarest class weighs in balanced accuracy, as a sentence."""
    present = {label: count for label, count in counts.items() if count}
    rarest = min(present, key=lambda label: present[label])
    fewest = present[rarest]
    return (
        f"{rarest} has {plural(fewest, unit)}: a single image is worth {100 / fewest:.1f} points of its recall and "
        f"{100 / fewest / len(present):.1f} points of balanced accuracy"
    )
