"""What the study finds of each arm: whether it helps, harms, or cannot be told, by the interval of its difference."""

from dataclasses import dataclass

from sdaug.verdict.number_formats import plural, signed
from sdaug.verdict.results import BASELINE, PRIMARY, Contrast, Study
from sdaug.verdict.statistics import MIN_RUNS

LARGE = 0.10  # an effect that a study should see: one that cannot rule it out has decided nothing
MIN_GROUPS = 5  # of each class's test photos: with three, bf16 took a standard error from 1.9 to 5.4 (git show c8fdb46)


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The verdict on one arm: on what, in a few words, and with its numbers; `detail` may be empty."""

    subject: str
    effect: str
    detail: str

    @property
    def sentence(self) -> str:
        return f"{self.subject}: {self.effect}. {self.detail}".strip()


def find_conclusions(study: Study) -> tuple[Conclusion, ...]:
    """The finding on each arm by balanced accuracy on the test set, or the reason why there is none."""
    if not study.contrasts:
        why = f"it needs the data set {BASELINE} and another; this study has {', '.join(study.datasets)}"
        return (Conclusion(subject="No verdict", effect=why, detail=""),)
    return tuple(_find(contrast, study) for contrast in study.answers)


def _find(contrast: Contrast, study: Study) -> Conclusion:
    over = plural(len(study.pooled), "model")
    return Conclusion(
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


def fewest_groups(study: Study) -> tuple[str, int]:
    """The class whose test photos come from the fewest groups, and how many."""
    groups_of: dict[str, set[str]] = {}
    for label, group in zip(study.test.labels, study.test.groups, strict=True):
        groups_of.setdefault(study.classes[label], set()).add(group)
    fewest = min(groups_of, key=lambda label: len(groups_of[label]))
    return fewest, len(groups_of[fewest])
