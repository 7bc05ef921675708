"""Parameters of classifier training: the shared recipe, overrides by model and data set, arms, and section `train`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sdaug.common.sections import convert, read_section, require

CUSTOM = "custom"
PRIOR_CORRECTED = "prior_corrected"  # the arm that costs no training; so its scores begin in a run's metrics, too


@dataclass(frozen=True, kw_only=True)
class RecipeParams:
    """Section `recipe`: the defaults for building and training classifiers."""

    options: dict[str, Any]
    pretrained: bool
    freeze_backbone: bool
    dropout: float
    drop_path: float
    image_size: int
    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: float
    layer_decay: float
    momentum: float
    weight_decay: float
    schedule: Literal["constant", "cosine", "step"]
    warmup_steps: int
    batch_size: int
    epochs: int | None
    steps: int | None

    def __post_init__(self) -> None:
        require(
            self.pretrained or not self.freeze_backbone,
            "freeze_backbone",
            True,
            "without pretrained weights the head would train on random features; set pretrained: true",
        )
        for key in ("dropout", "drop_path"):
            require(0 <= getattr(self, key) < 1, key, getattr(self, key), "need 0 or more and less than 1")
        require(16 <= self.image_size <= 1024, "image_size", self.image_size, "need 16 to 1024 pixels")
        require(0 < self.learning_rate <= 10, "learning_rate", self.learning_rate, "need more than 0, at most 10")
        decay = self.layer_decay
        require(0 < decay <= 1, "layer_decay", decay, "need more than 0, at most 1 (no decay)")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "need 0 or more and less than 1")
        require(0 <= self.weight_decay <= 1, "weight_decay", self.weight_decay, "need 0 to 1")
        # With epochs, the number of steps depends on the data set, so there is no upper limit here.
        is_fit = 0 <= self.warmup_steps < (self.steps or self.warmup_steps + 1)
        require(is_fit, "warmup_steps", self.warmup_steps, "need 0 or more, and fewer than steps")
        # Batch norm needs two images.
        require(self.batch_size >= 2, "batch_size", self.batch_size, "need 2 or more")
        rule = f"need either epochs or steps, and steps is {self.steps}"
        require((self.epochs is None) != (self.steps is None), "epochs", self.epochs, rule)
        for key in ("epochs", "steps"):
            value = getattr(self, key)
            require(value is None or value >= 1, key, value, "need 1 or more")


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeParams):
    """The recipe of one model: section `recipe` with the overrides of the model's entry in `classifiers`.

    `revision` is the branch, tag or commit of its pretrained weights on the hub; the card names the commit that was
    loaded.
    """

    architecture: str
    revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = "only pretrained weights have one; set pretrained: true or leave it out"
        require(self.revision is None or self.pretrained, "revision", self.revision, rule)
        if self.architecture == CUSTOM:
            require(not self.pretrained, "pretrained", True, "custom has no pretrained weights; set pretrained: false")
            for key in ("dropout", "drop_path"):
                require(not getattr(self, key), key, getattr(self, key), "custom has none; need 0")
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
    own = {key: value for key, value in entry.items() if key != "seeds"}
    by_dataset = convert(own.pop("by_dataset", {}), dict[str, dict[str, Any]], f"{where}.by_dataset")
    where = f"{where}.by_dataset.{dataset}" if dataset in by_dataset else where
    recipe: Recipe = convert(asdict(shared) | own | by_dataset.get(dataset, {}), Recipe, where)
    return recipe


@dataclass(frozen=True, kw_only=True)
class ArmTraining:
    """`datasets.<arm>.training`: loss, sampler and augmentation of an arm; the defaults are plain training."""

    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = 2.0  # works best in Lin et al., arXiv 1708.02002
    label_smoothing: float = 0.0
    class_weights: Literal["none", "inverse_frequency", "effective_number"] | list[float] = "none"
    effective_number_beta: float = 0.999
    sampler: Literal["plain", "balanced"] = "plain"
    flip_horizontal: bool = False
    flip_vertical: bool = False
    rotation_degrees: float = 0.0
    crop_scale: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    randaugment_ops: int = 0
    randaugment_magnitude: int = 9
    mixup_alpha: float = 0.0  # Zhang et al., arXiv 1710.09412; 0 for none
    cutmix_alpha: float = 0.0  # Yun et al., arXiv 1905.04899; 0 for none
    feature_oversampling: bool = False  # trains the head again on balanced features: arXiv 1910.09217, 2509.15859
    # Ways to use synthetic images.
    synthetic_weight: float = 1.0  # of one in the loss; 0.25 in DataDream, Kim et al., arXiv 2407.10910
    synthetic_share: float | None = None  # of each batch; None for as many as there are
    pretrain_steps: int = 0  # on synthetic images alone, before the others alone: Qraitem et al., arXiv 2308.04553
    soften: float = 0.0  # chance of a photo to be replaced by its reconstruction

    def __post_init__(self) -> None:
        require(0 <= self.focal_gamma <= 10, "focal_gamma", self.focal_gamma, "need 0 to 10")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "need 0 or more, less than 1")
        beta = self.effective_number_beta
        require(0 <= beta < 1, "effective_number_beta", beta, "need 0 or more and less than 1")
        if isinstance(self.class_weights, list):
            is_valid = min(self.class_weights, default=0) > 0
            rule = "need more than 0 for each class, in class order"
            require(is_valid, "class_weights", self.class_weights, rule)
        require(0 <= self.rotation_degrees <= 180, "rotation_degrees", self.rotation_degrees, "need 0 to 180")
        require(0 < self.crop_scale <= 1, "crop_scale", self.crop_scale, "need more than 0, at most 1 (none)")
        for key in ("brightness", "contrast", "saturation"):
            require(0 <= getattr(self, key) <= 1, key, getattr(self, key), "need 0 to 1")
        require(0 <= self.randaugment_ops <= 10, "randaugment_ops", self.randaugment_ops, "need 0 to 10")
        # torchvision divides each magnitude into 31 bins.
        magnitude = self.randaugment_magnitude
        require(0 <= magnitude <= 30, "randaugment_magnitude", magnitude, "need 0 to 30")
        for key in ("mixup_alpha", "cutmix_alpha"):
            require(0 <= getattr(self, key) <= 10, key, getattr(self, key), "need 0 to 10")
        self._check_synthetic()

    def _check_synthetic(self) -> None:
        weight, share, steps = self.synthetic_weight, self.synthetic_share, self.pretrain_steps
        require(0 < weight <= 1, "synthetic_weight", weight, "need more than 0, at most 1 (as much as a photo)")
        is_fit = share is None or 0 < share < 1
        require(is_fit, "synthetic_share", share, "need more than 0 and less than 1, or leave it empty")
        # A share says how often synthetic images are drawn, whatever their class.
        is_fit = share is None or self.sampler == "plain"
        require(is_fit, "synthetic_share", share, "the sampler is balanced, which has shares of its own; use plain")
        require(steps >= 0, "pretrain_steps", steps, "need 0 (none) or more")
        rule = "no batch has photos and synthetic images; leave synthetic_share and synthetic_weight out"
        require(not steps or (share is None and weight == 1), "pretrain_steps", steps, rule)
        require(0 <= self.soften <= 1, "soften", self.soften, "need 0 to 1")


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """Section `train`: settings shared by all training runs."""

    selection: Literal["balanced_accuracy", "accuracy", "macro_f1", "loss"]
    early_stopping_epochs: int | None
    ema_decay: float | None
    max_grad_norm: float | None
    precision: Literal["auto", "fp32", "bf16"]
    num_threads: int  # the last digits depend on it; one takes 1.3 to 1.8 times as long as two (LOG.md)
    compile: bool  # costs a minute on a CPU even for the smallest network (LOG.md)

    def __post_init__(self) -> None:
        patience, decay, norm = self.early_stopping_epochs, self.ema_decay, self.max_grad_norm
        require(patience is None or patience >= 1, "early_stopping_epochs", patience, "need 1 or more, or empty")
        require(decay is None or 0 < decay < 1, "ema_decay", decay, "need more than 0 and less than 1, or empty")
        require(norm is None or norm > 0, "max_grad_norm", norm, "need more than 0, or empty")
        require(1 <= self.num_threads <= 256, "num_threads", self.num_threads, "need 1 to 256")
