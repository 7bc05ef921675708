"""What a reader asks of a study of learned classifiers, answered from its settings and results.

The items follow two published checklists, in our own words: REFORMS (Kapoor et al., doi 10.1126/sciadv.adk3452) and
CLAIM (Tejani et al., doi 10.1148/ryai.240300). What the study does not know is `not stated`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdaug.common.manifest import Photo
from sdaug.common.params import SplitParams
from sdaug.common.seen import Seen
from sdaug.verdict.results import BASELINE, PRIMARY, Study
from sdaug.verdict.statistics import CONFIDENCE, MIN_RUNS
from sdaug.verdict.tables import plural

NOT_STATED = "not stated"
PHANTOM = "data/phantom"  # where the stage `phantom` writes simulated photos


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question, what this study does, and the section of the page that shows it."""

    part: str
    question: str
    answer: str
    section: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What answers rest on: all of params.yaml, the prepared photos, what `prepare` and `audit` found, the results.

    `base` is what the base model has seen.
    """

    params: Mapping[str, Any]
    split: SplitParams
    photos: Sequence[Photo]
    prepare: Mapping[str, Any]
    audit: Mapping[str, Any]
    study: Study
    base: Seen

    @property
    def is_phantom(self) -> bool:
        return "phantom" in self.params and self.setting("prepare", "raw") == PHANTOM

    @property
    def validates(self) -> bool:
        """Whether the runs had validation images."""
        return all(run.num_validation > 0 for result in self.study.results.values() for run in result.runs)

    def setting(self, section: str, key: str) -> Any:
        """A setting, None if it is empty or missing."""
        return self.params.get(section, {}).get(key)

    @property
    def num_shared(self) -> int:
        """Test photos of a group that has training photos, too."""
        groups = {photo.group for photo in self.photos if photo.split == "train"}
        return sum(photo.split == "test" and photo.group in groups for photo in self.photos)


def build_checklist(facts: Facts) -> list[Item]:
    """All items, in the order of REFORMS."""
    rows = (
        ("Study goals", "Question and main measure", _goal(facts), "verdict"),
        ("Reproducibility", "Settings, seeds, order of steps", _reproducibility(facts), "settings"),
        ("Data quality", "Source of the photos, consent", _source(facts), "images"),
        ("Data quality", "Who labelled, and how well", _labels(facts), "mistakes"),
        ("Data quality", "Number of photos", _numbers(facts), "images"),
        ("Data quality", "Is the study large enough?", _size(facts.study), "limits"),
        ("Preprocessing", "Exclusions and changes to photos", _preprocessing(facts), "settings"),
        ("Data leakage", "Split by individual", _groups(facts), "limits"),
        ("Data leakage", "Other leaks", _leaks(facts.audit), "audit"),
        ("Data leakage", "What the generators have seen", _generators(facts), "scores"),
        ("Data leakage", "What choices rest on", _choices(facts), "curves"),
        ("Modelling", "Models and generators", _models(facts), "settings"),
        ("Modelling", "What it is compared with", _baselines(facts.study), "scores"),
        ("Uncertainty", "Intervals, and what they hold", _uncertainty(facts.study), "verdict"),
        ("Uncertainty", "Many comparisons", _comparisons(facts.study), "scores"),
        ("Generality", "Other places, other groups, failures", _generality(facts), "mistakes"),
    )
    return [Item(part=part, question=question, answer=answer, section=to) for part, question, answer, to in rows]


def _goal(facts: Facts) -> str:
    arms = [arm for arm in facts.study.datasets if arm != BASELINE]
    return (
        f"Balanced accuracy on the test photos, of {', '.join(arms) or 'no other arm'} beside {BASELINE}; other scores "
        f"are secondary. Registered in advance: {NOT_STATED}."
    )


def _reproducibility(facts: Facts) -> str:
    draws = facts.params.get("generator_seeds")
    seeds = ", ".join(f"{model} {list(values)}" for model, values in facts.study.seeds.items())
    return (
        f"All settings are in params.yaml, all steps in dvc.yaml. Training seeds: {seeds}. "
        f"Seeds of the generators: {draws or NOT_STATED}. Equal numbers on other hardware: {NOT_STATED}."
    )


def _source(facts: Facts) -> str:
    if facts.is_phantom:
        return "Simulated photos, no real ones: they show neither animals nor people, and say nothing of real photos."
    return (
        f"Folder {facts.setting('prepare', 'raw') or NOT_STATED}. Who took the photos, when, where and of whom, and "
        f"consent or approval: {NOT_STATED}."
    )


def _labels(facts: Facts) -> str:
    doubts = f"The audit doubts {facts.audit['label_errors']['num_found']} of them."
    if facts.is_phantom:
        noise = facts.setting("phantom", "label_noise_fraction")
        return "Set by the simulation" + (f"; {noise:.0%} are one score off on purpose. " if noise else ". ") + doubts
    return f"Taken from the names of the folders. Who labelled, and how well two would agree: {NOT_STATED}. {doubts}"


def _numbers(facts: Facts) -> str:
    train = [photo for photo in facts.photos if photo.split == "train"]
    test = [photo for photo in facts.photos if photo.split == "test"]
    groups = len({photo.group for photo in facts.photos})
    rarest = min(facts.study.classes, key=lambda label: sum(photo.label == label for photo in train))
    few = (sum(photo.label == rarest for photo in part) for part in (train, test))
    return (
        f"{plural(len(train), 'photo')} to train and validate, {len(test)} to test, in {plural(groups, 'group')}. The "
        f"rarest class, {rarest}, has {next(few)} to train and validate and {next(few)} to test."
    )


def _size(study: Study) -> str:
    known = [contrast.mean[PRIMARY].detectable for contrast in study.contrasts if contrast.mean[PRIMARY].is_known]
    planned = f"Planned in advance: {NOT_STATED}."
    if not known:
        return f"Not known: too few runs or draws of the generators to say. {planned}"
    low, high = 100 * min(known), 100 * max(known)
    span = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
    missing = len(study.contrasts) - len(known)
    unknown = f" Not known for {plural(missing, 'further comparison')}." if missing else ""
    return (
        f"True effects of {span} points of balanced accuracy would be found by four of five such studies; smaller ones "
        f"are missed more often.{unknown} {planned}"
    )


def _preprocessing(facts: Facts) -> str:
    counted = ", ".join(
        f"{name} {facts.prepare.get(key, NOT_STATED)}"
        for name, key in (("unreadable", "num_broken"), ("copies", "num_duplicates"), ("other files", "num_ignored"))
    )
    size, square = facts.setting("prepare", "size_pixels"), facts.setting("prepare", "square")
    return (
        f"Left out: {counted}. Each photo is made square ({square or NOT_STATED}) and resized to {size or NOT_STATED} "
        "pixels."
    )


def _groups(facts: Facts) -> str:
    pattern = facts.setting("prepare", "group_pattern")
    named = f"Yes, by prepare.group_pattern {pattern}" if pattern else "No: prepare.group_pattern is empty"
    if facts.split.protocol == "published":
        named = "No: training and validation are split at random (published protocol)"
    return f"{named}. Test photos that share a group with a training photo: {facts.num_shared}."


def _generators(facts: Facts) -> str:
    base = facts.base.sentence
    if facts.split.protocol == "published":
        return f"All photos but the test set, those used to validate included: validation scores are too good. {base}"
    if facts.split.fold == "none":
        return f"All photos but the test set; no photo is kept to validate. {base}"
    return f"The training photos alone: neither those used to validate nor those used to test. {base}"


def _leaks(audit: Mapping[str, Any]) -> str:
    """What the audit's checks say, as far as they go."""
    verdicts = [check["verdict"] for check in audit["checks"].values()]
    found = ", ".join(f"{plural(verdicts.count(kind), kind)}" for kind in ("leak", "warning"))
    return f"An audit looked for copies and other leaks before any classifier was trained: {found}."


def _choices(facts: Facts) -> str:
    kept = "The last epoch of each run is kept: there are no validation images."
    if facts.validates:
        kept = (
            f"The epoch with the best validation {str(facts.setting('train', 'selection')).replace('_', ' ')} is kept."
        )
    return f"{kept} Whether anyone chose settings by looking at these test photos: {NOT_STATED}."


def _models(facts: Facts) -> str:
    shared, own = facts.params.get("recipe", {}), facts.params["classifiers"]
    pretrained = [m for m in facts.study.models if own[m].get("pretrained", shared.get("pretrained"))]
    weights = (
        f"start from published weights: {', '.join(pretrained)}" if pretrained else "all start from random weights"
    )
    return (
        f"Classifiers: {', '.join(facts.study.models)}; {weights}. Generators: DreamBooth on the base model "
        f"{facts.setting('base', 'model') or NOT_STATED}."
    )


def _baselines(study: Study) -> str:
    if not study.contrasts:
        return f"Nothing: the study needs the arm {BASELINE} and another."
    if study.remedy is None:
        return f"{BASELINE} alone; no simple remedy such as oversampling could be chosen."
    return f"{BASELINE}, and {study.remedy}, a simple remedy: the best of those in the study by validation."


def _uncertainty(study: Study) -> str:
    num_known = sum(contrast.mean[PRIMARY].is_known for contrast in study.contrasts)
    if not num_known:
        return f"No intervals of mean differences: they need {MIN_RUNS} runs of a model and {MIN_RUNS} draws."
    return (
        f"{num_known} of {len(study.contrasts)} mean differences have {CONFIDENCE:.0%} confidence intervals: over test "
        f"images (whole groups), training runs and draws of the generators. {_split_of(study)}"
    )


def _split_of(study: Study) -> str:
    if len(study.folds) > 1:
        return f"They hold the luck of the training photos, from {len(study.folds)} folds."
    return "All come from one split; another would give other numbers."


def _comparisons(study: Study) -> str:
    return (
        f"{plural(len(study.contrasts), 'comparison')} of arms. Each has a 5 % risk of a false alarm; intervals are "
        f"not widened for their number. P values of single models are corrected for "
        f"{plural(len(study.models), 'model')} (Holm's method)."
    )


def _generality(facts: Facts) -> str:
    place = f"Test photos of another place or time: {NOT_STATED}."
    if facts.is_phantom:
        place = "Test photos come from the same simulation."
    elif facts.setting("prepare", "split") == "made":
        place = "Test photos come from the same folder as the training photos."
    return f"{place} Errors are shown by class and by photo. Other subgroups: not examined."
