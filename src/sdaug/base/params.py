"""Section `base` of params.yaml."""

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from sdaug.common.provenance import SEEN, read_seen
from sdaug.common.sections import Checked, FilePath, Text, require, section
from sdaug.diffusion.layout import INDEX, SCHEDULER, check_layout, has_zero_terminal_snr, read_scheduler

# What params files held while a base could also be trained on nothing but the study's photos.
FORMER_MODEL = "tiny"
FORMER_KEYS = (
    *("vae_channels", "latent_channels", "vae_steps", "vae_batch_size", "vae_crop_pixels", "vae_learning_rate"),
    *("unet_channels", "unet_steps", "unet_batch_size", "unet_learning_rate", "ema_decay"),
)
RULE = "a base is no longer trained here from scratch"
INSTEAD = "write pretrained/small, and adapt_steps: 600 to have it learn the study's photos"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
# Names on the hub begin with a letter or digit: `./sd` and `../sd` are paths.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
VARIANT = re.compile(r"[A-Za-z0-9][\w-]*")


@section
class BaseParams(Checked):
    """Section `base`: the Stable Diffusion model to start from, and how it adapts."""

    model: str = Field(description="pretrained/small, a hub id, another folder in the diffusers layout, or a file")
    revision: str | None = Field(description="for a hub id: branch, tag or commit; empty for the latest")
    variant: str | None = Field(description="of the weights, such as fp16; empty for none")
    config: FilePath | None = Field(description="for a .safetensors file: a local folder with its configs")
    caption: Text = Field(description="generic prompt such as `a photo`")
    adapt_steps: int = Field(ge=0, description="steps in which the base learns the study's photos; 0 for none")
    adapt_learning_rate: float = Field(gt=0, le=0.1, description="of these steps")
    adapt_batch_size: int = Field(ge=1, description="photos of such a step")
    adapt_ema_decay: float = Field(ge=0, lt=1, description="decay of the moving average of the UNet's weights")
    caption_dropout: float = Field(ge=0, lt=1, description="fraction of captions dropped in adapting, for guidance")
    flip_horizontal: bool = Field(description="whether mirrored photos are shown")
    seed: int = Field(description="seed of adapting")

    def __post_init__(self) -> None:
        check_source(self.model, self.config, self.variant)

    @property
    def sees_photos(self) -> bool:
        """Whether the base is trained further on photos of the study."""
        return self.adapt_steps > 0

    def has_zero_terminal_snr(self) -> bool:
        """Whether the last timestep is known to be pure noise; a hub's model is not asked."""
        path = self.config if Path(self.model).suffix == ".safetensors" else Path(self.model)
        if path is None or not (path / SCHEDULER).is_file():
            return False
        return has_zero_terminal_snr(read_scheduler(path))


def refuse_former_keys(section: Mapping[str, object], where: str) -> None:
    """Refuse a section `base` with keys that it had once, and say what takes their place.

    Raises:
        ValueError: it has one of them; `where` starts the message.
    """
    found = [key for key in FORMER_KEYS if key in section]
    if found:
        of_model = f"; for model: {FORMER_MODEL}, {INSTEAD}" if section.get("model") == FORMER_MODEL else ""
        raise ValueError(
            f"{where}: {RULE}, got {', '.join(found)}; rename unet_batch_size to adapt_batch_size and ema_decay to "
            f"adapt_ema_decay, and delete the others{of_model}"
        )


def check_source(model: str, config: Path | None, variant: str | None = None) -> None:
    """Check that `model` can be a Stable Diffusion model, as far as possible without loading or downloading it.

    Raises:
        ValueError: `model`, `config` or `variant` is wrong.
    """
    path = Path(model)
    require(model != FORMER_MODEL, "model", model, f"{RULE}; {INSTEAD}")
    rule = "need a word such as fp16, which stands in the names of the weight files; empty for none"
    require(variant is None or VARIANT.fullmatch(variant) is not None, "variant", variant, rule)
    is_pickle = path.suffix in PICKLES
    require(not is_pickle, "model", model, "a pickle can run arbitrary code; convert it to .safetensors")
    if path.suffix == ".safetensors":
        require(path.is_file(), "model", model, "no such file; give the path of a .safetensors checkpoint")
        rule = "a single file needs a local folder of configs: the diffusers layout of its model without the weights"
        is_layout = config is not None and all((config / name).is_file() for name in (INDEX, "unet/config.json"))
        require(is_layout, "config", str(config or ""), rule)
    elif path.is_dir():
        check_layout(path, where=f"model: {model!r}", variant=variant)
        if (path / SEEN).is_file():
            read_seen(path / SEEN)
    else:
        rule = "need a hub id such as owner/name, a folder in the diffusers layout or a .safetensors file"
        require(HUB_ID.fullmatch(model) is not None, "model", model, rule)
        rule = f"the folder {path.parent} has no such model; give a folder in the diffusers layout, or a hub id"
        require(not path.parent.is_dir(), "model", model, rule)
