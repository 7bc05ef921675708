"""Sections `class_images` and `dreambooth` of params.yaml."""

from difflib import get_close_matches
from importlib.util import find_spec
from typing import Literal

from pydantic import Field

from sdaug.common.params import Drawing, PrecisionName
from sdaug.common.sections import Checked, Text, require, section

# The linear and convolutional layers of Stable Diffusion's UNet, by the ends of their names.
LORA_LAYERS = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "net.0.proj", "proj", "ff.net.2", "net.2", "proj_in",
    "proj_out", "conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv_in", "conv_out", "linear_1", "linear_2",
    "conv",
)  # fmt: skip


@section
class ClassImagesParams(Checked):
    """Section `class_images`: how the base samples images for prior preservation, shared by all classes."""

    prompt: Text = Field(description="generic prompt such as `a photo of a leaf`")
    num_images: int = Field(ge=1, description="images to draw")
    drawing: Drawing
    seed: int = Field(description="seed of the first image")


@section
class DreamBoothParams(Checked):
    """Section `dreambooth`: fine-tuning settings for all classes (Ruiz et al., arXiv 2208.12242)."""

    method: Literal["full", "lora"] = Field(description="full trains the whole UNet, lora low-rank adapters")
    lora_rank: int = Field(ge=1, description="rank of adapters")
    lora_alpha: float | None = Field(gt=0, description="adapters count alpha / rank; empty for alpha = rank")
    lora_targets: list[str] = Field(min_length=1, description="layers that get adapters, such as to_q, to_k, to_v")
    train_text_encoder: bool = Field(description="whether the text encoder (SDXL: both) is trained as well")
    prior_preservation: bool = Field(description="whether images of `class_images` are shown, too")
    # On a small base a full weight of 1 holds learning back (docs/log-2026-11.md).
    prior_loss_weight: float = Field(ge=0, le=10, description="their weight in the loss")
    training_steps: int = Field(ge=1, description="optimizer steps")
    batch_size: int = Field(ge=1, description="instance images per pass; as many class images are added")
    gradient_accumulation_steps: int = Field(ge=1, description="passes per optimizer step")
    gradient_checkpointing: bool = Field(description="half the activation memory for a third more time")
    optimizer: Literal["adamw", "adamw_8bit"] = Field(description="adamw_8bit needs bitsandbytes")
    learning_rate: float = Field(gt=0, le=0.1, description="of the optimizer")
    weight_decay: float = Field(ge=0, lt=1, description="of the optimizer; 0 for none")
    schedule: Literal["constant", "linear", "cosine"] = Field(description="how the learning rate falls to zero")
    warmup_steps: int = Field(ge=0, description="steps over which the learning rate rises from zero")
    max_grad_norm: float = Field(gt=0, description="gradient clipping")
    # The paper recommends 5 (Hang et al., arXiv 2303.09556).
    min_snr_gamma: float | None = Field(gt=0, description="min-SNR weighting of timesteps; usually 5, empty for none")
    noise_offset: float = Field(ge=0, le=1, description="for very dark or light images; 0 for none")
    ema_decay: float | None = Field(gt=0, lt=1, description="decay of a moving average of the weights; empty for none")
    precision: PrecisionName = Field(description="auto is bf16 where the hardware has it")
    flip_horizontal: bool = Field(description="whether mirrored photos are shown")
    preview_steps: int = Field(ge=0, description="steps between previews in MLflow; 0 for the last one only")
    preview_guidance_scale: float = Field(ge=1, description="guidance of previews; 1 for none")
    num_preview_images: int = Field(ge=0, description="images of a preview")
    validation_loss_steps: int | None = Field(ge=1, description="steps between validation losses; empty for none")
    selection: Literal["last", "validation_loss"] = Field(description="the step that is kept")

    def __post_init__(self) -> None:
        # Asked here, before any stage runs; `find_spec` imports nothing.
        has_optimizer = self.optimizer == "adamw" or find_spec("bitsandbytes") is not None
        rule = "needs bitsandbytes, which is not installed: `uv pip install bitsandbytes`, or use adamw"
        require(has_optimizer, "optimizer", self.optimizer, rule)
        for target in self.lora_targets:
            is_known = any(f".{target}".endswith(f".{name}") for name in LORA_LAYERS)
            near = get_close_matches(target.split(".")[-1], LORA_LAYERS, n=3, cutoff=0.5) or LORA_LAYERS
            require(is_known, "lora_targets", target, f"no layer of the UNet; near names: {', '.join(near)}")
        has_loss = self.selection == "last" or self.validation_loss_steps is not None
        rule = "needs a validation loss; set validation_loss_steps, or use last"
        require(has_loss, "selection", self.selection, rule)

    @property
    def alpha(self) -> float:
        """The alpha of adapters."""
        return self.lora_rank if self.lora_alpha is None else self.lora_alpha
