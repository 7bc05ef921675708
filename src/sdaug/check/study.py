"""Validation of params.yaml as a whole: every section, and the rules that span sections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from sdaug.audit.params import AuditParams
from sdaug.base.params import BaseParams, refuse_former_keys
from sdaug.classify.params import PRIOR_CORRECTED
from sdaug.common.params import (
    MADE_DIRS,
    ConceptParams,
    Drawing,
    Method,
    SplitParams,
    SynthesisDrawing,
    merge_arm,
    resolve_seeds,
)
from sdaug.common.sections import Checked, check_name, convert, require, section
from sdaug.common.synthetic import PLAIN
from sdaug.cross_validate.params import CrossValidateParams
from sdaug.datasets.params import ArmImages
from sdaug.diffusion.layout import PNDM_RULE
from sdaug.dreambooth.params import ClassImagesParams, DreamBoothParams
from sdaug.external.params import ExternalParams
from sdaug.fidelity.params import FidelityParams
from sdaug.phantom.params import PhantomParams
from sdaug.photos.params import PrepareParams
from sdaug.synthesize.params import SynthesizeParams
from sdaug.train.params import (
    SCTL,
    ArmTraining,
    Recipe,
    RecipeParams,
    SctlParams,
    TrainParams,
    resolve_recipe,
    resolve_sctl,
)


@section
class ArmParams(Checked):
    """Section `arm`, or an entry of `datasets` with it: images, and how models are trained on them."""

    images: ArmImages
    training: ArmTraining


@section
class StudyParams(Checked):
    """All sections of params.yaml; only studies of phantom photos have `phantom`."""

    classes: list[str] = Field(description="the classes, in their order")
    seeds: list[int] = Field(description="one training run per model, data set and seed")
    generator_seeds: list[int] = Field(description="one draw each: generators and their images")
    prepare: PrepareParams
    base: BaseParams
    concepts: dict[str, ConceptParams]
    class_images: ClassImagesParams
    dreambooth: DreamBoothParams
    synthesize: SynthesizeParams
    external: dict[str, ExternalParams] = Field(description="folders of images that other tools drew, by name")
    fidelity: FidelityParams
    audit: AuditParams
    split: SplitParams
    cross_validate: CrossValidateParams
    arm: ArmParams
    datasets: dict[str, ArmParams]  # with what they leave to `arm`
    recipe: RecipeParams
    sctl: SctlParams
    classifiers: dict[str, dict[str, Any]] = Field(description="the models: what differs from `recipe`")
    train: TrainParams
    phantom: PhantomParams | None = None

    def further_stages(self) -> dict[str, str]:
        """The stages that only some studies have and this one needs, each with the first setting that needs it."""
        found = dict[str, str]()
        for name, arm in self.datasets.items():
            key = f"datasets.{name}.images"
            if arm.images.keep_share < 1:
                found.setdefault("filter", f"{key}.keep_share: {arm.images.keep_share}")
            if arm.images.reconstructed:
                found.setdefault("reconstruct", f"{key}.reconstructed: true")
        return found

    def __post_init__(self) -> None:
        # Classes, seeds and names.
        require(len(self.classes) >= 2, "classes", self.classes, "need at least 2")
        for key in ("classes", "seeds", "generator_seeds"):
            values = getattr(self, key)
            require(len(set(values)) == len(values) > 0, key, values, "need at least one, without duplicates")
        for key in ("classes", "concepts", "datasets", "classifiers"):
            for name in getattr(self, key):
                check_name(name, where=key)
            require(bool(getattr(self, key)), key, getattr(self, key), "need at least one")
        # Concepts: a rare token that two classes share could not tell them apart.
        for label in self.concepts:
            require(label in self.classes, f"concepts.{label}", label, f"not a class; classes are {self.classes}")
        prompts = [concept.instance_prompt for concept in self.concepts.values()]
        require(
            len(set(prompts)) == len(prompts), "concepts", prompts, "need a different instance prompt for each class"
        )
        # Samplers.
        is_known = not self.base.has_zero_terminal_snr()
        drawings: dict[str, Drawing] = {"class_images.drawing": self.class_images.drawing, **self._drawings()}
        for key, drawing in drawings.items():
            require(drawing.sampler != "pndm" or is_known, f"{key}.sampler", drawing.sampler, PNDM_RULE)
        # The validation fold.
        fold, num_folds = self.split.fold, self.prepare.num_folds
        require(fold == "none" or fold < num_folds, "split.fold", fold, "need less than prepare.num_folds, or none")
        self._check_folds()
        steps, is_clean = self.dreambooth.validation_loss_steps, self.split.protocol == "clean" and fold != "none"
        rule = "needs photos that no generator sees: split.protocol: clean and a split.fold, or leave it empty"
        require(steps is None or is_clean, "dreambooth.validation_loss_steps", steps, rule)
        # Arms and recipes; a recipe is checked as it is built.
        self._check_external()
        self._check_arms()
        for model, entry in self.classifiers.items():
            self._check_seeds(model, entry)
            for dataset in entry.get("by_dataset") or {}:
                key = f"classifiers.{model}.by_dataset.{dataset}"
                require(dataset in self.datasets, key, dataset, f"not a data set; datasets are {list(self.datasets)}")
        self._check_methods({model: recipes[0].method for model, recipes in self.recipes().items()})

    def _check_folds(self) -> None:
        """Further folds of a cross-validation are others, and there are so many."""
        key, folds, own = "cross_validate.folds", self.cross_validate.folds, self.split.fold
        most = self.prepare.num_folds - 1
        require(max(folds, default=0) <= most, key, folds, f"need 0 to {most}: less than prepare.num_folds")
        require(own not in folds, key, folds, f"{own} is split.fold, which the study has already; leave it out")
        is_clean = self.split.protocol == "clean" and own != "none"
        rule = "only the clean protocol with a validation fold has folds; set split.protocol: clean and split.fold: 0"
        require(is_clean or not folds, key, folds, rule)
        require(len(folds) != 1, key, folds, "two folds do not tell how folds differ; give two more or none")

    def _drawings(self) -> dict[str, SynthesisDrawing]:
        """The settings of each variant of synthetic images, by the key where they stand."""
        found = self.synthesize.drawings()
        return {"synthesize.drawing" if name == PLAIN else f"synthesize.variants.{name}": found[name] for name in found}

    def _check_seeds(self, model: str, entry: Mapping[str, Any]) -> None:
        """Each draw needs as many seeds as the others, or its luck would weigh more."""
        seeds = resolve_seeds(self.seeds, entry, where=f"classifiers.{model}")
        num_draws = len(self.generator_seeds)
        is_even = len(seeds) < num_draws or len(seeds) % num_draws == 0
        rule = (
            f"need fewer than generator_seeds ({num_draws}), or a multiple of them, so that each draw counts the same"
        )
        require(is_even, "seeds" if "seeds" not in entry else f"classifiers.{model}.seeds", seeds, rule)

    def recipes(self) -> dict[str, list[Recipe]]:
        """The distinct training recipes of each classifier over all data sets."""
        found: dict[str, list[Recipe]] = {}
        for model, entry in self.classifiers.items():
            of_model = found.setdefault(model, [])
            for dataset in self.datasets:
                recipe = resolve_recipe(self.recipe, entry, dataset, where=f"classifiers.{model}")
                if recipe not in of_model:
                    of_model.append(recipe)
        return found

    def _check_external(self) -> None:
        """Names that tables can tell apart, and no fold that validates on photos which a tool has seen."""
        for name, source in self.external.items():
            check_name(name, where="external")
            rule = "images of this name are drawn by `synthesize`; give the folder another"
            require(name not in self.synthesize.drawings(), f"external.{name}", name, rule)
            is_alone = source.seen != "training" or not self.cross_validate.folds
            rule = "the tool has seen photos that validate in other folds; leave cross_validate.folds empty"
            require(is_alone, f"external.{name}.seen", source.seen, rule)

    def _check_methods(self, methods: Mapping[str, Method]) -> None:
        """What SCTL-style training needs, and classifiers beside it that do not see the test photos."""
        transductive = [model for model, method in methods.items() if method == SCTL]
        for model, entry in self.classifiers.items():
            key = f"classifiers.{model}.{SCTL}"
            rule = "idle, since the method is plain; set method: sctl, or leave it out"
            require(model in transductive or SCTL not in entry, key, entry.get(SCTL), rule)
            if model in transductive:
                resolve_sctl(self.sctl, entry, where=f"classifiers.{model}")
        if not transductive:
            return
        rule = "the verdict rests on classifiers that do not see test photos; add one with method: plain"
        require(len(transductive) < len(methods), "classifiers", transductive, rule)
        rule = f"the features of {transductive[0]} are read by a hook, which is not compiled; set train.compile: false"
        require(not self.train.compile, "train.compile", True, rule)
        rule = f"a mixed image is of no one class, and sctl ({transductive[0]}) needs classes; leave the arm out"
        mixing = [name for name, arm in self.datasets.items() if arm.training.mixes]
        require(not mixing, "datasets", mixing, rule)

    def _check_arms(self) -> None:
        for name, arm in self.datasets.items():
            key = f"datasets.{name}"
            rule = "the report makes this arm from `original`; give yours another name"
            require(name != PRIOR_CORRECTED, key, name, rule)
            self._check_synthetic(f"{key}.images", arm.images)
            is_phantom = self.phantom is not None or not arm.images.oracle
            require(is_phantom, f"{key}.images.oracle", arm.images.oracle, "only the phantom has more true photos")
            is_same = self.phantom is None or self.phantom.size_pixels == self.prepare.size_pixels
            rule = "oracle photos are not resized: phantom.size_pixels must equal prepare.size_pixels"
            require(is_same or not arm.images.oracle, f"{key}.images.oracle", arm.images.oracle, rule)
            weights, num_classes = arm.training.class_weights, len(self.classes)
            # Other weights are a word, such as inverse_frequency.
            is_whole = not isinstance(weights, list) or len(weights) == num_classes
            require(is_whole, f"{key}.training.class_weights", weights, f"need {num_classes}, one per class")
            _check_images_of_training(key, arm)

    def _check_synthetic(self, key: str, images: ArmImages) -> None:
        """The synthetic images of an arm are drawn."""
        if images.external is not None:
            known = ", ".join(self.external) or "none"
            rule = f"not an entry of section external, which has {known}; `sdaug external FOLDER` adds one"
            require(images.external in self.external, f"{key}.external", images.external, rule)
            rule = "images from elsewhere have no variants; leave variant or external out"
            require(images.variant == PLAIN, f"{key}.variant", images.variant, rule)
            return  # the stage `external` holds its numbers against the photos
        drawn = self.synthesize
        # A fixed `num_images` is held against what the class lacks in the stage `split`, which knows the photos.
        most = drawn.multiple_of_missing * images.keep_share
        is_there = drawn.num_images is not None or images.synthetic <= most
        rule = f"need at most {most}: synthesize.multiple_of_missing times keep_share"
        require(is_there, f"{key}.synthetic", images.synthetic, rule)
        variants = list(drawn.drawings())
        rule = f"not a variant; synthesize has {', '.join(variants)}"
        require(images.variant in variants, f"{key}.variant", images.variant, rule)
        # The filter keeps a share of at least so many.
        least = round(images.keep_share * (drawn.num_images or drawn.min_images))
        rule = f"need at most {least}: synthesize.min_images (or num_images) times keep_share"
        require(images.per_class <= least, f"{key}.per_class", images.per_class, rule)


def _check_images_of_training(key: str, arm: ArmParams) -> None:
    """The images that settings of `training` need, as `images` has them."""
    images, training = arm.images, arm.training
    used = {
        "synthetic_weight": training.synthetic_weight < 1,
        "synthetic_share": training.synthetic_share is not None,
        "pretrain_steps": training.pretrain_steps > 0,
    }
    for name in (name for name, is_used in used.items() if is_used):
        where, value = f"{key}.training.{name}", getattr(training, name)
        rule = "the arm has no synthetic images; set images.synthetic, images.per_class or images.external"
        require(images.has_synthetic, where, value, rule)
        require(images.real, where, value, "the arm has no photos beside synthetic images; leave images.real out")
    rule = "the arm has no reconstructions of photos; set images.reconstructed: true"
    require(images.reconstructed or not training.soften, f"{key}.training.soften", training.soften, rule)
    rule = "no training uses them; set training.soften"
    require(training.soften > 0 or not images.reconstructed, f"{key}.images.reconstructed", True, rule)


def _with_whole_arms(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The params with whole entries of `datasets`, which is what is checked; section `arm` is checked before."""
    shared, entries = values.get("arm"), values.get("datasets")
    if shared is None or not isinstance(entries, dict):
        return dict(values)
    convert(shared, ArmParams, f"{path}: arm")
    arms = {name: merge_arm(shared, entry) if isinstance(entry, dict) else entry for name, entry in entries.items()}
    return {**values, "datasets": arms}


def check_study(values: Mapping[str, Any], path: Path, *, made_dirs: tuple[Path, ...] = MADE_DIRS) -> StudyParams:
    """The validated params.yaml, read from `path` into `values`; a folder in `made_dirs` need not exist yet.

    Raises:
        ValueError: A rule is broken; one line names the file, key, value and rule.
        FileNotFoundError: `prepare.raw` does not exist and no stage writes it.
    """
    # Before unknown keys are refused, which could not say what to write instead.
    if isinstance(values.get("base"), dict):
        refuse_former_keys(values["base"], f"{path}: base")
    study: StudyParams = convert(_with_whole_arms(values, path), StudyParams, f"{path}:")
    raw = study.prepare.raw
    for name, source in study.external.items():
        if source.folder.resolve() == raw.resolve():
            raise ValueError(f"{path}: external.{name}.folder: {raw}: the photos of the study; give another folder")
    if not raw.is_dir() and raw not in made_dirs:
        raise FileNotFoundError(f"{path}: prepare.raw: {raw}: no such folder; give a folder of class folders")
    return study
