"""The model card of a classifier: architecture, training data, scores with intervals, confusion, limits."""

import yaml
from huggingface_hub import EvalResult, ModelCardData

from sdaug.common.files import read_json
from sdaug.common.manifest import count_labels, training_photos
from sdaug.records.cards import UNKNOWN_LICENCE, fill_card
from sdaug.records.finished import CLASSIFIERS, Finished, Publication
from sdaug.records.markdown import code, plain, table
from sdaug.records.transduction import describe_losses, notice
from sdaug.train.params import Recipe
from sdaug.verdict.limits import find_limits
from sdaug.verdict.number_formats import number, percent_within, plural, signed
from sdaug.verdict.results import BASELINE, PRIMARY, Result
from sdaug.verdict.runs import AT_PRIOR
from sdaug.verdict.siblings import sibling_scores
from sdaug.verdict.statistics import MIN_RUNS

SHARES = {
    PRIMARY: "balanced accuracy",
    "test_accuracy": "accuracy",
    AT_PRIOR: "accuracy at the test set's prior",
    "test_macro_f1": "macro F1",
}
NUMBERS = {
    "test_quadratic_kappa": "quadratic kappa",
    "test_mean_absolute_error": "mean absolute error, in classes",
    "test_auroc": "AUROC, mean of one class against the rest",
    "test_calibration_error": "calibration error",
}
NAMES = SHARES | NUMBERS
# By the names of the hub's metrics where it has one.
ON_HUB = {PRIMARY: "balanced_accuracy", "test_accuracy": "accuracy", "test_macro_f1": "f1", "test_auroc": "roc_auc"}
INTERVALS = (
    "In brackets 95 % intervals, which hold the luck of test photos, training runs and draws; there are none with "
    f"fewer than {MIN_RUNS} runs or draws."
)


def classifier_card(study: Finished, model: str, arm: str, publication: Publication) -> str:
    """The card of one model on one arm, for its runs of all seeds, in Markdown."""
    shown, own = study.shown, study.study_of(model)
    result, recipe, sctl = own.results[model, arm], study.recipes[model, arm], study.sctl.get(model)
    seed = own.seeds[model][0]
    folder = CLASSIFIERS / f"{model}-{arm}" / str(seed)
    return fill_card(
        "classifier.md",
        _metadata(study, result, recipe, publication),
        title=code(f"{model}-{arm}"),
        notice=notice(len(own.test.ids), sctl),
        architecture=_architecture(recipe),
        arm=f"the arm {code(arm)}",
        num_classes=len(shown.study.classes),
        classes=", ".join(code(name) for name in shown.study.classes),
        details=_details(study, result, recipe, publication),
        new_photos=" How good it is on new photos is not measured." if sctl else "",
        limits="\n".join(f"- {plain(line)}" for line in _limits(study)),
        command=f"sdaug predict {folder} photo.jpg",
        snippet=_snippet(str(folder)),
        training=_training(study, result),
        settings=yaml.safe_dump(dict(shown.arms[arm]), sort_keys=False, allow_unicode=True).rstrip(),
        unlabelled=f"{plural(len(own.test.ids), 'test photo')} without labels." if sctl else "",
        num_test=len(own.test.ids),
        test_set=code(shown.test_set),
        runs=_runs(result),
        interval_note=INTERVALS,
        scores=_scores(result),
        difference=_difference(study, result),
        recall=_recall(study, result),
        summed="" if len(result.runs) == 1 else f", summed over {len(result.runs)} runs",
        confusion=_confusion(study, result),
    )


def _architecture(recipe: Recipe) -> str:
    if recipe.architecture == "custom":
        return "A small residual network with self-attention (`custom`, not one of timm's)"
    return f"timm's {code(recipe.architecture)}"


def _metadata(study: Finished, result: Result, recipe: Recipe, publication: Publication) -> ModelCardData:
    origin, is_transductive = _origin(study, result, recipe), result.model in study.sctl
    # Hubs show scores without what is said of them: those of photos that a classifier learned from stay in the text.
    scores = {} if is_transductive else {metric: result.scores[metric] for metric in ON_HUB if metric in result.scores}
    tags = ["image-classification", recipe.architecture, *(["transductive"] if is_transductive else [])]
    return ModelCardData(
        license=publication.licence,
        library_name="timm",
        pipeline_tag="image-classification",
        base_model=origin.split("@")[0] if origin and "/" in origin else None,
        tags=tags,
        metrics=[ON_HUB[metric] for metric in scores] or None,
        model_name=f"{result.model}-{result.dataset}" if scores else None,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                task_name="Image classification",
                dataset_type="imagefolder",
                dataset_name="test photos of the study",
                dataset_split="test",
                dataset_revision=study.inputs.test_set,
                metric_type=ON_HUB[metric],
                metric_name=f"{NAMES[metric]}, {_runs(result)}",
                metric_value=round(value, 4),
            )
            for metric, value in scores.items()
        ]
        or None,
    )


def _origin(study: Finished, result: Result, recipe: Recipe) -> str | None:
    """The hub id and commit of timm's weights that training started from, as the first run noted them."""
    path = CLASSIFIERS / f"{result.model}-{result.dataset}" / str(result.runs[0].seed) / "config.json"
    if not recipe.pretrained or not (study.root / path).is_file():
        return None
    origin = read_json(study.root / path).get("pretrained")
    return str(origin) if origin else None


def _details(study: Finished, result: Result, recipe: Recipe, publication: Publication) -> str:
    name = f"{result.model}-{result.dataset}"
    options = ", ".join(f"{key}={value!r}" for key, value in recipe.options.items())
    start = f"timm's weights {_origin(study, result, recipe) or ''}".strip() if recipe.pretrained else "random weights"
    folders = [CLASSIFIERS / name / str(seed) for seed in study.study_of(result.model).seeds[result.model]]
    sctl = study.sctl.get(result.model)
    rows = [
        ("architecture", code(recipe.architecture) + (f", options {code(options)}" if options else "")),
        ("starts from", plain(start)),
        ("image size", f"{recipe.image_size} pixels"),
        ("training", _recipe(recipe)),
        *([("learning from test photos", describe_losses(sctl))] if sctl else []),
        ("epoch that is kept", _kept(study)),
        ("runs", ", ".join(code(folder.as_posix()) for folder in folders)),
        ("content, as DVC names it", code(study.hash_of(folders[0]) or "not tracked")),
        ("shared by", plain(publication.creator or "not stated")),
        ("licence", plain(publication.licence or UNKNOWN_LICENCE)),
    ]
    return table(("", ""), rows)


def _kept(study: Finished) -> str:
    if study.inputs.split.fold == "none":
        return "the last, since there are no validation photos"
    return f"that of the best validation {code(study.inputs.selection)}"


def _recipe(recipe: Recipe) -> str:
    length = plural(recipe.steps, "step") if recipe.steps else plural(recipe.epochs or 0, "epoch")
    rate = f"learning rate {recipe.learning_rate:g} ({recipe.schedule})"
    return f"{length} of {recipe.batch_size} images, {recipe.optimizer}, {rate}, weight decay {recipe.weight_decay:g}"


def _limits(study: Finished) -> tuple[str, ...]:
    shown = study.shown
    return find_limits(shown, sibling_scores(shown.photos, shown.study.classes))


def _snippet(folder: str) -> str:
    lines = [
        "from pathlib import Path",
        "",
        "import torch",
        "from sdaug.classify.models import load_model",
        "",
        "# The card has classes, sizes and normalization.",
        f"model, card = load_model(Path({folder!r}), torch.device('cpu'))",
    ]
    return "\n".join(lines)


def _training(study: Finished, result: Result) -> str:
    shown, num_runs = study.shown, len(result.runs)
    photos = count_labels(training_photos(shown.photos, shown.split), shown.study.classes)

    def views(label: str) -> tuple[str, str]:
        every = sum(run.num_views.get(label, 0) for run in result.runs) / num_runs
        real = sum(run.num_real_views.get(label, 0) for run in result.runs) / num_runs
        return f"{every:,.0f}", f"{real:,.0f}"

    rows = [(code(label), str(photos[label]), *views(label)) for label in shown.study.classes]
    return table(("class", "training photos", "images shown, mean of runs", "of these photos"), rows)


def _runs(result: Result) -> str:
    return "one run" if len(result.runs) == 1 else f"mean of {len(result.runs)} runs"


def _scores(result: Result) -> str:
    rows = [
        (f"{name}, %", percent_within(result.scores[metric], estimate.interval if estimate else None))
        for metric, name in SHARES.items()
        for estimate in (result.estimates.get(metric),)
    ]
    rows += [(name, number(result.scores[metric], unknown="-")) for metric, name in NUMBERS.items()]
    return table(("score", "value"), rows)


def _difference(study: Finished, result: Result) -> str:
    """What the arm is worth beside photos alone, for this model."""
    for contrast in study.study_of(result.model).contrasts:
        if (contrast.arm, contrast.against) == (result.dataset, BASELINE):
            gain = signed(contrast.by_model[result.model].estimates[PRIMARY])
            return f"Against `{BASELINE}`, the same model trained on photos alone: {gain} points of balanced accuracy."
    return ""


def _recall(study: Finished, result: Result) -> str:
    numbers = study.shown.study.num_test
    rows = [
        (code(label), str(numbers[label]), percent_within(result.recall[label], result.recall_intervals[label]))
        for label in study.shown.study.classes
    ]
    return table(("class", "test photos", "recall, %"), rows)


def _confusion(study: Finished, result: Result) -> str:
    classes = study.shown.study.classes
    rows = [(code(label), *map(str, counts)) for label, counts in zip(classes, result.confusion.tolist(), strict=True)]
    return table(("", *map(code, classes)), rows)
