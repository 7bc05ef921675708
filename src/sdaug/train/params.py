"""Settings of classifier training: `recipe` with what models and data sets change, arms, and section `train`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sdaug.classify.params import CUSTOM, ModelParams, ModelRecipe
from sdaug.common.params import Method, read_methods
from sdaug.common.sections import Checked, convert, read_section, require, section

SCTL: Method = "sctl"
Threshold = Annotated[float, Field(ge=0, lt=1, description="the probability of the most probable class is above it")]
Start = Annotated[float, Field(ge=0, lt=1, description="the fraction of all steps that are done")]
Width = Annotated[float, Field(gt=0, le=1000, description="1 is the mean squared distance")]


@section
class RecipeParams(ModelParams):
    """Section `recipe`: how classifiers are built and trained unless an entry of `classifiers` says otherwise."""

    method: Method = Field(description="plain, or sctl, which sees the test photos, too, without their labels")
    optimizer: Literal["sgd", "adam", "adamw"] = Field(description="how weights follow gradients")
    learning_rate: float = Field(gt=0, le=10, description="of the optimizer")
    layer_decay: float = Field(gt=0, le=1, description="learning rate of a layer relative to the next one; 1 for none")
    momentum: float = Field(ge=0, lt=1, description="of sgd; 0 for none")
    weight_decay: float = Field(ge=0, le=1, description="of the optimizer; 0 for none")
    schedule: Literal["constant", "cosine", "step"] = Field(description="how the learning rate falls")
    # With epochs, the number of steps depends on the data set, so there is no upper limit here.
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate rises; 0 for none")
    batch_size: int = Field(ge=2, description="images of a step; batch norm needs two")
    epochs: int | None = Field(ge=1, description="empty if steps are given")
    steps: int | None = Field(ge=1, description="the same for every data set; empty if epochs are given")

    def __post_init__(self) -> None:
        super().__post_init__()
        is_fit = self.warmup_steps < (self.steps or self.warmup_steps + 1)
        require(is_fit, "warmup_steps", self.warmup_steps, "need 0 or more, and fewer than steps")
        rule = f"need either epochs or steps, and steps is {self.steps}"
        require((self.epochs is None) != (self.steps is None), "epochs", self.epochs, rule)
        rule = "sctl moves features, which are frozen; set freeze_backbone: false, or method: plain"
        require(self.method != SCTL or not self.freeze_backbone, "freeze_backbone", True, rule)


@section
class Recipe(RecipeParams, ModelRecipe):
    """The recipe of one model: section `recipe` with the overrides of the model's entry in `classifiers`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture == CUSTOM:
            require(self.layer_decay == 1, "layer_decay", self.layer_decay, "custom has none; need 1")


def read_recipe(path: Path, model: str, dataset: str) -> Recipe:
    """The recipe of one model on one data set, from a params file.

    Raises:
        ValueError: a section is missing or invalid.
    """
    key = f"classifiers.{model}"
    shared, entry = read_section(path, "recipe", RecipeParams), read_section(path, key, dict[str, Any])
    return resolve_recipe(shared, entry, dataset, where=f"{path}: {key}")


def resolve_recipe(shared: RecipeParams, entry: Mapping[str, Any], dataset: str, *, where: str) -> Recipe:
    """The recipe of one model on one data set; `entry` is the model's entry in `classifiers`.

    Raises:
        ValueError: `entry`, or its `by_dataset` part, has an unknown key or an invalid value.
    """
    own = {key: value for key, value in entry.items() if key not in ("seeds", SCTL)}
    by_dataset = convert(own.pop("by_dataset", {}), dict[str, dict[str, Any]], f"{where}.by_dataset")
    for name, found in by_dataset.items():
        if "method" in found:
            rule = "a classifier has one method on all data sets; give the other a classifier of its own"
            raise ValueError(f"{where}.by_dataset.{name}.method: {found['method']!r}; {rule}")
    where = f"{where}.by_dataset.{dataset}" if dataset in by_dataset else where
    recipe: Recipe = convert(asdict(shared) | own | by_dataset.get(dataset, {}), Recipe, where)
    return recipe


@section
class SctlParams(Checked):
    """Section `sctl`: the weights of the losses of SCTL-style training, and its rounds of pseudo labels."""

    thresholds: list[Threshold] = Field(min_length=1, description="probabilities above which photos get pseudo labels")
    starts: list[Start] = Field(min_length=1, description="when each threshold's round begins, a fraction of all steps")
    kernel_widths: list[Width] = Field(
        min_length=1, description="of the discrepancy, relative to the mean squared distance"
    )
    separation_weight: float = Field(ge=0, le=100, description="of the similarity of classes; 0 for none")
    pseudo_label_weight: float = Field(ge=0, le=100, description="of the cross entropy of pseudo labels; 0 for none")
    discrepancy_weight: float = Field(
        ge=0, le=100, description="of the discrepancy of training and test features; 0 for none"
    )

    @property
    def uses_test_photos(self) -> bool:
        """Whether a loss needs pseudo labels."""
        return self.pseudo_label_weight > 0 or self.discrepancy_weight > 0

    def __post_init__(self) -> None:
        is_paired = len(self.starts) == len(self.thresholds)
        require(is_paired, "starts", self.starts, f"need {len(self.thresholds)}, one for each threshold")
        is_ascending = sorted(set(self.starts)) == self.starts
        require(is_ascending, "starts", self.starts, "each round needs to begin after the one before it")


def read_sctl(path: Path, model: str) -> SctlParams | None:
    """The settings of SCTL-style training of one model, from a params file; None if its method is another.

    Raises:
        ValueError: a section is missing or invalid.
    """
    key = f"classifiers.{model}"
    shared, entry = read_section(path, SCTL, SctlParams), read_section(path, key, dict[str, Any])
    return resolve_sctl(shared, entry, where=f"{path}: {key}") if read_methods(path)[model] == SCTL else None


def resolve_sctl(shared: SctlParams, entry: Mapping[str, Any], *, where: str) -> SctlParams:
    """Section `sctl` with what the entry of a model in `classifiers` changes.

    Raises:
        ValueError: an unknown key or an invalid value.
    """
    own = convert(entry.get(SCTL, {}), dict[str, Any], f"{where}.{SCTL}")
    found: SctlParams = convert(asdict(shared) | own, SctlParams, f"{where}.{SCTL}")
    return found


@section
class ArmTraining(Checked):
    """`arm.training` with what `datasets.<arm>.training` changes: loss, sampler and augmentation of an arm."""

    loss: Literal["cross_entropy", "focal"] = Field(description="what training lowers")
    # 2 works best in Lin et al., arXiv 1708.02002.
    focal_gamma: float = Field(ge=0, le=10, description="of focal: how little easy images count")
    label_smoothing: float = Field(ge=0, lt=1, description="probability spread over classes; 0 for none")
    class_weights: Literal["none", "inverse_frequency", "effective_number"] | list[float] = Field(
        description="weights of classes in the loss"
    )
    effective_number_beta: float = Field(ge=0, lt=1, description="of class_weights: effective_number")
    sampler: Literal["plain", "balanced"] = Field(description="balanced shows each class as often")
    flip_horizontal: bool = Field(description="whether mirrored images are shown")
    flip_vertical: bool = Field(description="whether images are shown upside down")
    rotation_degrees: float = Field(ge=0, le=180, description="largest random rotation; 0 for none")
    crop_scale: float = Field(gt=0, le=1, description="least area of a random crop; 1 for none")
    brightness: float = Field(ge=0, le=1, description="largest relative change; 0 for none")
    contrast: float = Field(ge=0, le=1, description="largest relative change; 0 for none")
    saturation: float = Field(ge=0, le=1, description="largest relative change; 0 for none")
    randaugment_ops: int = Field(ge=0, le=10, description="operations of RandAugment; 0 for none")
    # torchvision divides each magnitude into 31 bins.
    randaugment_magnitude: int = Field(ge=0, le=30, description="how strong these operations are")
    mixup_alpha: float = Field(ge=0, le=10, description="Zhang et al., arXiv 1710.09412; 0 for none")
    cutmix_alpha: float = Field(ge=0, le=10, description="Yun et al., arXiv 1905.04899; 0 for none")
    feature_oversampling: bool = Field(  # arXiv 1910.09217, 2509.15859
        description="whether the head is trained again on balanced features"
    )
    # Ways to use synthetic images. A weight of 0.25 is that of DataDream, Kim et al., arXiv 2407.10910; pretraining is
    # that of Qraitem et al., arXiv 2308.04553.
    synthetic_weight: float = Field(
        gt=0, le=1, description="weight of a synthetic image in the loss; 1 is as much as a photo"
    )
    synthetic_share: float | None = Field(
        gt=0, lt=1, description="share of synthetic images in each batch; empty for as many as there are"
    )
    pretrain_steps: int = Field(
        ge=0, description="steps on synthetic images alone, before the others alone; 0 for none"
    )
    soften: float = Field(ge=0, le=1, description="chance of a photo to be replaced by its reconstruction; 0 for none")

    @property
    def mixes(self) -> bool:
        """Whether images of the loss are mixtures of several."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0

    def __post_init__(self) -> None:
        if isinstance(self.class_weights, list):
            is_valid = min(self.class_weights, default=0) > 0
            rule = "need more than 0 for each class, in class order"
            require(is_valid, "class_weights", self.class_weights, rule)
        weight, share, steps = self.synthetic_weight, self.synthetic_share, self.pretrain_steps
        # A share says how often synthetic images are drawn, whatever their class.
        is_fit = share is None or self.sampler == "plain"
        require(is_fit, "synthetic_share", share, "the sampler is balanced, which has shares of its own; use plain")
        rule = "no batch has photos and synthetic images; leave synthetic_share and synthetic_weight out"
        require(not steps or (share is None and weight == 1), "pretrain_steps", steps, rule)


@section
class TrainParams(Checked):
    """Section `train`: settings shared by all training runs."""

    selection: Literal["balanced_accuracy", "accuracy", "macro_f1", "loss"] = Field(
        description="validation score that picks the epoch"
    )
    early_stopping_epochs: int | None = Field(ge=1, description="stop after so many without a better one; or empty")
    ema_decay: float | None = Field(gt=0, lt=1, description="decay of a moving average of the weights; empty for none")
    max_grad_norm: float | None = Field(gt=0, description="gradient clipping; empty for none")
    precision: Literal["auto", "fp32", "bf16"] = Field(description="auto is bf16 where the hardware has it")
    # One takes 1.3 to 1.8 times as long as two (docs/log-2026-11.md).
    num_threads: int = Field(ge=1, le=256, description="per training run on a CPU; the last digits depend on it")
    # Costs a minute on a CPU even for the smallest network (docs/log-2026-11.md).
    compile: bool = Field(description="whether torch.compile is used; for long runs on a GPU")
