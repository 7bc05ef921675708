"""The whole of params.yaml at once: every section checked, and what one section says of another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdaug.classify.recipe import ArmTraining, ClassifierParams, TrainParams, resolve_recipe
from sdaug.data.phantom import PhantomParams
from sdaug.data.prepare import PrepareParams
from sdaug.data.split_params import ArmImages, SplitParams
from sdaug.diffusion.base_params import BaseParams
from sdaug.diffusion.dreambooth_params import ClassImagesParams, ConceptParams, DreamBoothParams
from sdaug.diffusion.fidelity_params import FidelityParams
from sdaug.diffusion.synthesize_params import SynthesizeParams
from sdaug.names import check_name
from sdaug.params import convert, require

MADE_DIRS = (Path("data/phantom"), Path("data/teats"))  # by the stages phantom and teats


@dataclass(frozen=True, kw_only=True)
class ArmParams:
    """An entry of `datasets`: which images, and how models are trained on them."""

    images: ArmImages
    training: ArmTraining


@dataclass(frozen=True, kw_only=True)
class StudyParams:
    """params.yaml, section by section; `phantom` is there only in a study of phantom photos."""

    classes: list[str]
    seeds: list[int]
    prepare: PrepareParams
    base: BaseParams
    concepts: dict[str, ConceptParams]
    class_images: ClassImagesParams
    dreambooth: DreamBoothParams
    synthesize: SynthesizeParams
    fidelity: FidelityParams
    split: SplitParams
    datasets: dict[str, ArmParams]
    classifiers: dict[str, ClassifierParams]
    train: TrainParams
    phantom: PhantomParams | None = None

    def __post_init__(self) -> None:
        require(len(self.classes) >= 2, "classes", self.classes, "need 2 or more")
        for key in ("classes", "seeds"):
            values = getattr(self, key)
            require(len(set(values)) == len(values) > 0, key, values, "need at least one, and each once")
        for key in ("classes", "concepts", "datasets", "classifiers"):
            for name in getattr(self, key):
                check_name(name, where=key)
            require(bool(getattr(self, key)), key, getattr(self, key), "need at least one")
        for label in self.concepts:
            require(label in self.classes, f"concepts.{label}", label, f"not a class; classes are {self.classes}")
        prompts = [concept.instance_prompt for concept in self.concepts.values()]
        require(
            len(set(prompts)) == len(prompts), "concepts", prompts, "need an instance prompt of its own for each class"
        )
        fold, num_folds = self.split.fold, self.prepare.num_folds
        require(fold == "none" or fold < num_folds, "split.fold", fold, "need less than prepare.num_folds, or none")
        for side in ("height", "width"):
            size = getattr(self.synthesize, side)
            is_same = size == self.prepare.size_pixels
            require(is_same, f"synthesize.{side}", size, f"need prepare.size_pixels, {self.prepare.size_pixels}")
        self._check_arms()
        self._check_classifiers()

    def _check_arms(self) -> None:
        drawn = self.synthesize
        for name, arm in self.datasets.items():
            key = f"datasets.{name}"
            is_there = drawn.num_images is not None or arm.images.synthetic <= drawn.multiple_of_missing
            rule = f"need at most synthesize.multiple_of_missing, {drawn.multiple_of_missing}"
            require(is_there, f"{key}.images.synthetic", arm.images.synthetic, rule)
            is_phantom = self.phantom is not None or not arm.images.oracle
            require(is_phantom, f"{key}.images.oracle", arm.images.oracle, "only the phantom has further true photos")
            is_same = self.phantom is None or self.phantom.size_pixels == self.prepare.size_pixels
            rule = "its photos are not resized: need the same phantom.size_pixels and prepare.size_pixels"
            require(is_same or not arm.images.oracle, f"{key}.images.oracle", arm.images.oracle, rule)
            weights, num_classes = arm.training.class_weights, len(self.classes)
            is_whole = not isinstance(weights, list) or len(weights) == num_classes
            require(is_whole, f"{key}.training.class_weights", weights, f"need {num_classes}, one for each class")

    def _check_classifiers(self) -> None:
        for model, classifier in self.classifiers.items():
            for dataset in classifier.by_dataset:
                key = f"classifiers.{model}.by_dataset.{dataset}"
                require(dataset in self.datasets, key, dataset, f"not a data set; datasets are {list(self.datasets)}")
            for dataset in self.datasets:
                resolve_recipe(classifier, dataset, where=f"classifiers.{model}")


def check_study(values: Mapping[str, Any], path: Path, *, made_dirs: tuple[Path, ...] = MADE_DIRS) -> StudyParams:
    """Every rule of every section, and that `prepare.raw` is there unless a stage makes it.

    Raises:
        ValueError: one line that names the file, the key, the value and what is allowed.
    """
    study: StudyParams = convert(dict(values), StudyParams, f"{path}:")
    raw = study.prepare.raw
    if not raw.is_dir() and raw not in made_dirs:
        raise FileNotFoundError(f"{path}: prepare.raw: {raw}: no such folder; give a folder of class folders")
    return study
