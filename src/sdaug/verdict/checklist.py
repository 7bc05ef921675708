"""What a reader asks of a study of learned classifiers, answered from its settings and results.

The items follow two published checklists, in our own words: REFORMS (Kapoor et al., doi 10.1126/sciadv.adk3452) and
CLAIM (Tejani et al., doi 10.1148/ryai.240300). What the study does not know is `not stated`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sdaug.common.manifest import Photo
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.number_formats import plural
from sdaug.verdict.results import BASELINE, PRIMARY, Study
from sdaug.verdict.statistics import CONFIDENCE, MIN_RUNS
from sdaug.verdict.transductive import sentence_of

NOT_STATED = "not stated"
PHANTOM = "data/phantom"  # where the stage `phantom` writes simulated photos


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question, what this study does, and the section of the page that shows it."""

    part: str
    question: str
    answer: str
    section: str


def build_checklist(inputs: Inputs) -> tuple[Item, ...]:
    """All items, in the order of REFORMS."""
    rows = (
        ("Study goals", "Question and main measure", _goal(inputs), "verdict"),
        ("Reproducibility", "Settings, seeds, order of steps", _reproducibility(inputs), "settings"),
        ("Data quality", "Source of the photos, consent", _source(inputs), "images"),
        ("Data quality", "Who labelled, and how well", _labels(inputs), "mistakes"),
        ("Data quality", "Number of photos", _numbers(inputs), "images"),
        ("Data quality", "Is the study large enough?", _size(inputs.study), "limits"),
        ("Preprocessing", "Exclusions and changes to photos", _preprocessing(inputs), "settings"),
        ("Data leakage", "Split by individual", _groups(inputs), "limits"),
        ("Data leakage", "Other leaks", _leaks(inputs), "audit"),
        ("Data leakage", "What the generators have seen", _generators(inputs), "scores"),
        ("Data leakage", "What choices rest on", _choices(inputs), "curves"),
        ("Modelling", "Models and generators", _models(inputs), "settings"),
        ("Modelling", "What it is compared with", _baselines(inputs.study), "scores"),
        ("Uncertainty", "Intervals, and what they hold", _uncertainty(inputs.study), "verdict"),
        ("Uncertainty", "Many comparisons", _comparisons(inputs.study), "scores"),
        ("Generality", "Other places, other groups, failures", _generality(inputs), "mistakes"),
    )
    return tuple(Item(part=part, question=question, answer=answer, section=to) for part, question, answer, to in rows)


def _goal(inputs: Inputs) -> str:
    arms = [arm for arm in inputs.study.datasets if arm != BASELINE]
    return (
        f"Balanced accuracy on the test photos, of {', '.join(arms) or 'no other arm'} beside {BASELINE}; other scores "
        f"are secondary. Registered in advance: {NOT_STATED}."
    )


def _reproducibility(inputs: Inputs) -> str:
    draws = inputs.params.get("generator_seeds")
    seeds = ", ".join(f"{model} {list(values)}" for model, values in inputs.study.seeds.items())
    return (
        f"All settings are in params.yaml, all steps in dvc.yaml. Training seeds: {seeds}. "
        f"Seeds of the generators: {draws or NOT_STATED}. Equal numbers on other hardware: {NOT_STATED}."
    )


def _source(inputs: Inputs) -> str:
    if _is_phantom(inputs):
        return "Simulated photos, no real ones: they show neither animals nor people, and say nothing of real photos."
    return (
        f"Folder {inputs.setting('prepare', 'raw') or NOT_STATED}. Who took the photos, when, where and of whom, and "
        f"consent or approval: {NOT_STATED}."
    )


def _labels(inputs: Inputs) -> str:
    doubts = f"The audit doubts {inputs.audit.label_errors.num_found} of them."
    if _is_phantom(inputs):
        noise = inputs.setting("phantom", "label_noise_fraction")
        return "Set by the simulation" + (f"; {noise:.0%} are one score off on purpose. " if noise else ". ") + doubts
    return f"Taken from the names of the folders. Who labelled, and how well two would agree: {NOT_STATED}. {doubts}"


def _numbers(inputs: Inputs) -> str:
    train = [photo for photo in inputs.photos if photo.split == "train"]
    test = [photo for photo in inputs.photos if photo.split == "test"]
    groups = len({photo.group for photo in inputs.photos})
    rarest = min(inputs.study.classes, key=lambda label: sum(photo.label == label for photo in train))
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


def _preprocessing(inputs: Inputs) -> str:
    found = inputs.prepare
    counted = f"unreadable {found.num_broken}, copies {found.num_duplicates}, other files {found.num_ignored}"
    size, square = inputs.setting("prepare", "size_pixels"), inputs.setting("prepare", "square")
    return (
        f"Left out: {counted}. Each photo is made square ({square or NOT_STATED}) and resized to {size or NOT_STATED} "
        "pixels."
    )


def _groups(inputs: Inputs) -> str:
    pattern = inputs.setting("prepare", "group_pattern")
    named = f"Yes, by prepare.group_pattern {pattern}" if pattern else "No: prepare.group_pattern is empty"
    if inputs.split.protocol == "published":
        named = "No: training and validation are split at random (published protocol)"
    return f"{named}. Test photos that share a group with a training photo: {_count_shared(inputs.photos)}."


def _generators(inputs: Inputs) -> str:
    base = inputs.base.sentence
    if inputs.split.protocol == "published":
        return f"All photos but the test set, those used to validate included: validation scores are too good. {base}"
    if inputs.split.fold == "none":
        return f"All photos but the test set; no photo is kept to validate. {base}"
    return f"The training photos alone: neither those used to validate nor those used to test. {base}"


def _leaks(inputs: Inputs) -> str:
    """What the audit's checks say, as far as they go, and which classifiers saw test photos."""
    verdicts = [check.verdict for check in inputs.checks.values()]
    found = ", ".join(f"{plural(verdicts.count(kind), kind)}" for kind in ("leak", "warning"))
    audited = f"An audit looked for copies and other leaks before any classifier was trained: {found}."
    return f"{audited} {sentence_of(inputs.transductive)}".strip()


def _choices(inputs: Inputs) -> str:
    kept = "The last epoch of each run is kept: there are no validation images."
    if _validates(inputs.study):
        kept = (
            f"The epoch with the best validation {str(inputs.setting('train', 'selection')).replace('_', ' ')} is kept."
        )
    return f"{kept} Whether anyone chose settings by looking at these test photos: {NOT_STATED}."


def _models(inputs: Inputs) -> str:
    shared, own = inputs.params.get("recipe", {}), inputs.params["classifiers"]
    pretrained = [m for m in inputs.study.models if own[m].get("pretrained", shared.get("pretrained"))]
    weights = (
        f"start from published weights: {', '.join(pretrained)}" if pretrained else "all start from random weights"
    )
    return (
        f"Classifiers: {', '.join(inputs.study.models)}; {weights}. Generators: DreamBooth on the base model "
        f"{inputs.setting('base', 'model') or NOT_STATED}."
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


def _generality(inputs: Inputs) -> str:
    place = f"Test photos of another place or time: {NOT_STATED}."
    if _is_phantom(inputs):
        place = "Test photos come from the same simulation."
    elif inputs.setting("prepare", "split") == "made":
        place = "Test photos come from the same folder as the training photos."
    return f"{place} Errors are shown by class and by photo. Other subgroups: not examined."


def _is_phantom(inputs: Inputs) -> bool:
    return "phantom" in inputs.params and inputs.setting("prepare", "raw") == PHANTOM


def _validates(study: Study) -> bool:
    """Whether the runs had validation images."""
    return all(run.num_validation > 0 for result in study.results.values() for run in result.runs)


def _count_shared(photos: Sequence[Photo]) -> int:
    """Test photos of a group that has training photos, too."""
    groups = {photo.group for photo in photos if photo.split == "train"}
    return sum(photo.split == "test" and photo.group in groups for photo in photos)
