"""The knobs of the `dreambooth` stage."""

from dataclasses import dataclass

from sdaug.params import require


@dataclass(frozen=True, kw_only=True)
class DreamBoothParams:
    """Section `dreambooth`: what all classes share in fine-tuning (Ruiz et al., arXiv 2208.12242)."""

    class_prompt: str
    num_class_images: int
    class_guidance_scale: float
    class_inference_steps: int
    prior_loss_weight: float
    training_steps: int
    learning_rate: float
    batch_size: int
    max_grad_norm: float
    flip_horizontal: bool
    num_preview_images: int
    seed: int

    def __post_init__(self) -> None:
        require(bool(self.class_prompt.strip()), "class_prompt", self.class_prompt, "need a prompt")
        for key in ("num_class_images", "training_steps", "batch_size", "class_inference_steps"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "need 1 or more")
        require(self.num_preview_images >= 0, "num_preview_images", self.num_preview_images, "need 0 or more")
        require(0 <= self.prior_loss_weight <= 10, "prior_loss_weight", self.prior_loss_weight, "need 0 to 10")
        require(0 < self.learning_rate <= 0.1, "learning_rate", self.learning_rate, "need more than 0, at most 0.1")
        require(self.max_grad_norm > 0, "max_grad_norm", self.max_grad_norm, "need more than 0")
        require(self.class_guidance_scale >= 1, "class_guidance_scale", self.class_guidance_scale, "need 1 or more")


@dataclass(frozen=True, kw_only=True)
class ConceptParams:
    """An entry of `concepts`: what one rare class is called in its prompt."""

    instance_prompt: str

    def __post_init__(self) -> None:
        require(bool(self.instance_prompt.strip()), "instance_prompt", self.instance_prompt, "need a prompt")
