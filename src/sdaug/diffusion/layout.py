"""Checking the diffusers layout of a Stable Diffusion folder, with weights as safetensors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}  # of weight files; of others: model
TEXT_PARTS, TOKENIZERS = ("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2")
XL = "StableDiffusionXLPipeline"
NUM_TEXT_PARTS = {"StableDiffusionPipeline": 1, XL: 2}  # by the class of the pipeline
SUPPORTED = f"supported: Stable Diffusion 1.x and 2.x (StableDiffusionPipeline), and SDXL's base ({XL})"
KNOWN_OTHERS = {
    "StableDiffusionXLImg2ImgPipeline": ", such as SDXL's refiner",
    "StableDiffusionInpaintPipeline": ", for inpainting",
    "StableDiffusionXLInpaintPipeline": ", for inpainting",
}
XL_ADDITION = "text_time"  # SDXL's UNet takes a pooled embedding and sizes
NUM_CHANNELS, NUM_SIZES = 4, 6  # diffusers' default; SDXL's base takes six numbers of sizes, its refiner five
PNDM_RULE = (
    "the base's noise ends in pure noise (rescale_betas_zero_snr), which pndm does not know; "
    "use dpm_solver, unipc, ddim or euler"
)


def check_layout(folder: Path, *, where: str, variant: str | None = None) -> None:
    """Check that a folder holds Stable Diffusion in the diffusers layout, with weights as safetensors.

    Raises:
        ValueError: a part is missing, damaged or of another kind, or the weights are pickled or of another variant.
    """
    _require_files(folder, [INDEX, "unet", "vae", TEXT_PARTS[0], TOKENIZERS[0], "scheduler"], where=where)
    # The index can be read and names a supported class; the parts of that class and their configs are there.
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where}: {INDEX} is damaged ({error}); copy the folder again") from error
    name = check_pipeline_class(index, where=where)
    texts = TEXT_PARTS[: NUM_TEXT_PARTS[name]]
    _require_files(folder, [*texts, *TOKENIZERS[: len(texts)]], where=where)
    weighted = ("unet", "vae", *texts)
    _require_files(folder, [*(f"{part}/config.json" for part in weighted), SCHEDULER], where=where)
    configs = {part: _read_config(folder, part, where=where) for part in weighted}
    check_networks(configs["unet"], configs["vae"], configs.get(TEXT_PARTS[1]), where=where)
    for part in weighted:
        _check_weights(folder / part, STEMS.get(part, "model"), variant, where=f"{where}: {part}")


def _require_files(folder: Path, names: Sequence[str], *, where: str) -> None:
    absent = [name for name in names if not (folder / name).exists()]
    if absent:
        raise ValueError(f"{where}: no {', '.join(absent)}; need a Stable Diffusion in the diffusers layout")


def _read_config(folder: Path, part: str, *, where: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where}: a part is damaged: {part}/config.json ({error}); copy the folder again") from error
    return config


def _check_weights(folder: Path, stem: str, variant: str | None, *, where: str) -> None:
    """Check that a part has safetensors weights, of the variant or of none."""
    names = [file.name for file in folder.glob("*.safetensors*")]
    kinds = [variant, None] if variant else [None]
    if any(_is_variant(name, stem, kind) for name in names for kind in kinds):
        return
    if any(name.endswith(".safetensors") for name in names):
        rule = f"no weights{f' of variant {variant!r}' if variant else ''}, but {', '.join(sorted(names))}"
        raise ValueError(f"{where} has {rule}; set base.variant to the part before .safetensors")
    raise ValueError(
        f"{where} has no .safetensors weights (pickled ones are not read: they can run arbitrary "
        "code); save it again with `save_pretrained(..., safe_serialization=True)`"
    )


def _is_variant(name: str, stem: str, variant: str | None) -> bool:
    """Whether a file holds the weights of a variant (None: no variant), or is the index of their shards."""
    infix = f".{variant}" if variant else ""
    return name in (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")


def check_pipeline_class(index: Mapping[str, Any], *, where: str) -> str:
    """The pipeline class that model_index.json names, if the study can train it.

    Raises:
        ValueError: it names another class.
    """
    name = str(index.get("_class_name"))
    if name not in NUM_TEXT_PARTS:
        raise ValueError(f"{where}: is a {name}{KNOWN_OTHERS.get(name, '')}; {SUPPORTED}")
    return name


def check_networks(
    unet: Mapping[str, Any], vae: Mapping[str, Any], text_2: Mapping[str, Any] | None, *, where: str
) -> None:
    """Check by the configs of its parts that a model draws images from text alone; `text_2` is that of SDXL.

    Raises:
        ValueError: it needs more, such as an image to inpaint.
    """
    taken, given = (config.get(key, NUM_CHANNELS) for config, key in ((unet, "in_channels"), (vae, "latent_channels")))
    if taken != given:
        raise ValueError(
            f"{where}: its UNet takes {taken} channels, as for inpainting, and its VAE has {given}; {SUPPORTED}"
        )
    if unet.get("time_cond_proj_dim") is not None:
        raise ValueError(f"{where}: its UNet takes the guidance scale, as a latent consistency model; {SUPPORTED}")
    if text_2 is None:
        return
    num_pooled = text_2.get("projection_dim", 512)  # CLIP's default
    wanted = num_pooled + NUM_SIZES * (unet.get("addition_time_embed_dim") or 0)
    has = unet.get("projection_class_embeddings_input_dim")
    if unet.get("addition_embed_type") != XL_ADDITION or has != wanted:
        raise ValueError(
            f"{where}: its UNet takes {has} numbers of text and sizes, and SDXL's base {wanted}: {num_pooled} of text "
            f"and {NUM_SIZES} sizes, where its refiner has five; {SUPPORTED}"
        )
    if vae.get("latents_mean") is not None:
        raise ValueError(f"{where}: its VAE shifts latents (latents_mean), as SDXL's does not; {SUPPORTED}")


def has_zero_terminal_snr(scheduler: Mapping[str, Any]) -> bool:
    """Whether the config of a scheduler says that the last timestep is pure noise (arXiv 2305.08891)."""
    return bool(scheduler.get("rescale_betas_zero_snr"))


def read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's config in a folder in the diffusers layout.

    Raises:
        ValueError: it is not JSON.
    """
    path = folder / SCHEDULER
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); copy the folder again") from error
    return config
