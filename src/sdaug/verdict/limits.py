"""What limits the verdict, a sentence for each: luck that the intervals do not hold, few photos, leaks, lost photos."""

from collections.abc import Mapping
from typing import Any

from sdaug.common.manifest import count_labels, validation_photos
from sdaug.common.params import Protocol
from sdaug.verdict.external_summary import limits_of_external
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.letters import Check, Prepared
from sdaug.verdict.number_formats import percent, plural
from sdaug.verdict.results import BASELINE, PRIMARY, Study
from sdaug.verdict.stage_tables import CHECKS
from sdaug.verdict.statistics import MIN_RUNS
from sdaug.verdict.transductive import sentence_of

MIN_VALIDATION = 5  # photos of a class: with fewer, one photo is 25 points and more of what selects an epoch


def find_limits(inputs: Inputs, siblings: Mapping[str, float] | None) -> tuple[str, ...]:
    """All of them; `siblings` are the scores of guessing from groups alone, if a group is in training and test."""
    study, split = inputs.study, inputs.split
    # A published study validates on a random part of all images, which the manifest does not know.
    validating = validation_photos(inputs.photos, fold=split.fold) if split.protocol == "clean" else []
    return (
        _limit_of_split(study),
        *_limits_of_test_photos(study),
        inputs.base.sentence,
        *limits_of_external(inputs.external),
        *_limits_of_runs(study),
        *_limits_of_comparisons(study),
        *_limits_of_selection(inputs.selection, count_labels(validating, study.classes)),
        *_limits_of_training(study, {name: arm["training"] for name, arm in inputs.arms.items()}),
        *_limits_of_remedy(study),
        *_limits_of_protocol(split.protocol),
        *_limits_of_siblings(siblings),
        *_limits_of_photos(inputs.prepare),
        *_limits_of_leaks(inputs.checks),
        *filter(None, [sentence_of(inputs.transductive)]),
        _limit_of_test_set(study, inputs.test_set),
    )


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


def _limits_of_test_photos(study: Study) -> list[str]:
    """How many they are, and how much one weighs."""
    num_groups, num_images = len(set(study.test.groups)), len(study.test.ids)
    return [
        f"Test scores come from {num_images} images of {plural(num_groups, 'group')}. Images of one group are alike, "
        "so the intervals count groups rather than images.",
        f"{weight_of_one(study.num_test, 'test image')}.",
    ]


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


def _limits_of_remedy(study: Study) -> list[str]:
    if not study.contrasts or study.remedy is not None:
        return []
    return [
        f"All arms are compared with {BASELINE} alone: there is no simple remedy beside it, such as oversampling "
        "or class weights, or no validation set to choose one by. A simple remedy might do as well."
    ]


def _limits_of_protocol(protocol: Protocol) -> list[str]:
    if protocol != "published":
        return []
    return [
        "Validation scores are too good: the generators learned from the photos that validate. Compare test scores "
        "only."
    ]


def _limits_of_siblings(siblings: Mapping[str, float] | None) -> list[str]:
    if siblings is None:
        return []
    return [
        f"Test photos share groups with training photos. Guessing the most common label among the training photos "
        f"of the same group, without looking at a pixel, scores {percent(siblings['test_accuracy'])} % test "
        f"accuracy and {percent(siblings['test_balanced_accuracy'])} % balanced accuracy. A model "
        "that scores no more may have learned nothing else."
    ]


def _limits_of_photos(prepared: Prepared) -> list[str]:
    """The photos that were given and left out, by part and class."""
    found = {
        "exact copies": prepared.duplicates,
        "unreadable photos": prepared.broken_of_class,
        "links and the like that are not read": {"": len(prepared.unused)},
        "folders that are no class": {"": len(prepared.left_out)},
    }
    said = [
        f"{sum(counts.values())} {what}{_by_part(counts)}" for what, counts in found.items() if any(counts.values())
    ]
    return [f"Of the photos that were given, the study does not use {', '.join(said)}."] if said else []


def _by_part(counts: Mapping[str, int]) -> str:
    """Counts by part and class, such as ` (3 test.score_1, 1 train.score_2)`."""
    named = ", ".join(f"{count} {place}" for place, count in counts.items() if place)
    return f" ({named})" if named else ""


def _limits_of_leaks(checks: Mapping[str, Check]) -> list[str]:
    """Leaks that the study went on in spite of."""
    leaks = [CHECKS[name] for name, check in checks.items() if check.verdict == "leak"]
    if not leaks:
        return []
    return [
        f"The data leaks ({'; '.join(leaks)}). Scores may be better than on new photos. The audit's table has more."
    ]


def _limit_of_test_set(study: Study, name: str) -> str:
    """With which other revisions of the study this one can be compared."""
    return (
        f"The test set is {name} ({sum(study.num_test.values())} photos). Scores can be compared with "
        "those of another revision only if it has the same test set: `sdaug compare REVISION` tells."
    )


def weight_of_one(counts: Mapping[str, int], unit: str) -> str:
    """How much one image of the rarest class weighs in balanced accuracy, as a sentence."""
    present = {label: count for label, count in counts.items() if count}
    rarest = min(present, key=lambda label: present[label])
    fewest = present[rarest]
    return (
        f"{rarest} has {plural(fewest, unit)}: a single image is worth {100 / fewest:.1f} points of its recall and "
        f"{100 / fewest / len(present):.1f} points of balanced accuracy"
    )
