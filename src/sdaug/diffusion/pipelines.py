"""Loading and saving Stable Diffusion pipelines, from safetensors only: pickles can run arbitrary code."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTextModelWithProjection
from transformers.utils import logging as transformers_logging

from sdaug.diffusion.attention import share_prompts
from sdaug.diffusion.exchange import rename_text_weights, write_vocabulary
from sdaug.diffusion.layout import (
    INDEX,
    SCHEDULER,
    SUPPORTED,
    TOKENIZERS,
    XL,
    check_layout,
    check_networks,
    check_pipeline_class,
    read_scheduler,
)
from sdaug.diffusion.versions import PIPELINES, Pipeline, is_xl, networks, text_parts

NO_CHECKER = {"safety_checker": None, "requires_safety_checker": False}  # it blacks out skin-like photos
# SDXL's pipeline has none, but would mark images if a certain package is installed.
EXTRAS: dict[str, dict[str, Any]] = dict.fromkeys(PIPELINES, NO_CHECKER) | {XL: {"add_watermarker": False}}


def load_pipeline(folder: Path, device: torch.device, *, variant: str | None = None) -> Pipeline:
    """A pipeline from a folder in the diffusers layout, in evaluation mode, with its own scheduler.

    Raises:
        ValueError: a part is missing or damaged, the pipeline is of another class, or the weights are pickled.
    """
    check_layout(folder, where=str(folder), variant=variant)
    _hush()
    name = _class_name(folder / INDEX, where=str(folder))
    try:
        pipeline = PIPELINES[name].from_pretrained(
            folder, variant=variant, use_safetensors=True, local_files_only=True, **EXTRAS[name]
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # an unexpected file makes diffusers and transformers raise many kinds of errors
        raise ValueError(
            f"{folder}: a part is damaged, or of another model ({_short(error)}); copy or create the folder again"
        ) from error
    return _ready(pipeline, where=str(folder)).to(device)


def load_checkpoint(file: Path, config_dir: Path) -> Pipeline:
    """A pipeline from a single .safetensors checkpoint and a folder with the configs of its model.

    Raises:
        ValueError: the checkpoint does not fit the configs, or is damaged.
    """
    _hush()
    name = _class_name(config_dir / INDEX, where=f"params.yaml: base.config: {config_dir}")
    try:
        # Without `config`, diffusers would look for the configs on the hub.
        pipeline = PIPELINES[name].from_single_file(
            str(file), config=str(config_dir), local_files_only=True, **EXTRAS[name]
        )
    except Exception as error:  # diffusers raises many kinds of errors on an unexpected file
        raise ValueError(
            f"params.yaml: base.model: {str(file)!r}: not a checkpoint of the model that {config_dir} describes "
            f"({_short(error)}); {SUPPORTED}"
        ) from error
    where = f"params.yaml: base.model: {str(file)!r}"
    _require_weights(pipeline, where)
    return _ready(pipeline, where=where)


def download_pipeline(model: str, revision: str | None, variant: str | None) -> tuple[Pipeline, str]:
    """A pipeline from the hub, and its commit, by id, revision (branch, tag or commit) and variant (such as fp16).

    Raises:
        ValueError: the hub refuses the download or cannot be reached, or the model is not supported.
    """
    from huggingface_hub import hf_hub_download

    where = f"params.yaml: base.model: {model!r}"
    # Check the class before the weights, which can be gigabytes, are downloaded.
    with _hub_errors(where, revision):
        index = Path(hf_hub_download(model, INDEX, revision=revision))
    name = _class_name(index, where=where)
    # The hub's cache is `snapshots/<commit>/`. From here on the commit is fixed, though a branch may move meanwhile.
    commit = index.parent.name
    with _hub_errors(where, revision):
        try:
            pipeline = PIPELINES[name].from_pretrained(
                model, revision=commit, variant=variant, use_safetensors=True, **EXTRAS[name]
            )
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:  # such as a full disk
                raise
            _ask_again(model, commit)
            kind = f" of variant {variant!r}" if variant else ""
            raise ValueError(
                f"{where}: the hub has no safetensors weights{kind} ({_short(error)}); "
                "correct base.variant, or choose a revision with safetensors"
            ) from error
    return _ready(pipeline, where=where), commit


@contextmanager
def _hub_errors(where: str, revision: str | None) -> Iterator[None]:
    """Convert errors of the hub client to a `ValueError` that says what to do."""
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.GatedRepoError as error:
        raise ValueError(
            f"{where}: its licence has not been accepted; accept it on the model's page, then `hf auth login`"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise ValueError(f"{where}: no revision {revision!r}; correct base.revision, or leave it empty") from error
    except hub.RepositoryNotFoundError as error:
        raise ValueError(
            f"{where}: the hub has no such id (or it is private); correct it, or `hf auth login`"
        ) from error
    except hub.LocalEntryNotFoundError as error:
        raise ValueError(
            f"{where}: the hub cannot be reached and nothing is cached; check the network, give a local folder, "
            "or use pretrained/small"
        ) from error
    except hub.EntryNotFoundError as error:
        raise ValueError(
            f"{where}: it has no model_index.json, so it is not in the diffusers layout; {SUPPORTED}"
        ) from error
    except OSError as error:
        reason = f"{where}: it could not be fetched ({_short(error)})"
        raise ValueError(f"{reason}; check the network and the free disk space, then try again") from error


def _ask_again(model: str, commit: str) -> None:
    """Raise an `OSError` if the hub is unreachable: diffusers hides that by falling back to its cache."""
    from huggingface_hub import model_info

    try:
        model_info(model, revision=commit)
    except Exception as error:  # the error types depend on the HTTP library, which the hub client has changed
        raise OSError(str(error)) from error


def save_pipeline(pipeline: Pipeline, folder: Path) -> None:
    """Save a pipeline in the diffusers layout; equal pipelines give equal bytes, wherever they are saved."""
    _hush()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for part, tokenizer in zip(text_parts(pipeline), TOKENIZERS, strict=False):
        rename_text_weights(folder / part)
        write_vocabulary(folder / tokenizer)
    _forget_defaults(pipeline, folder)
    _forget_origin(folder)


def save_part(part: Any, folder: Path) -> None:
    """Save one model of a pipeline in the same way as `save_pipeline`."""
    _hush()
    part.save_pretrained(folder, safe_serialization=True)
    if isinstance(part, CLIPTextModel | CLIPTextModelWithProjection):
        rename_text_weights(folder)
    _forget_origin(folder)


def _class_name(index: Path, *, where: str) -> str:
    """The supported class of a pipeline that an index names.

    Raises:
        ValueError: there is no such file, or it is damaged, or names another class.
    """
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{where}: need its {INDEX} ({_short(error)}); copy it from the model's folder") from error
    return check_pipeline_class(found, where=where)


def _require_weights(pipeline: Pipeline, where: str) -> None:
    """Refuse a pipeline with weights that no file gave: diffusers leaves them without values, and says nothing."""
    for part in ("unet", "vae", *text_parts(pipeline)):
        absent = [name for name, weight in getattr(pipeline, part).named_parameters() if weight.is_meta]
        if absent:
            raise ValueError(
                f"{where}: {part} lacks {len(absent)} weights, such as {absent[0]}; get the whole file again"
            )


def _ready(pipeline: Pipeline, *, where: str) -> Pipeline:
    text_2 = pipeline.text_encoder_2.config.to_dict() if is_xl(pipeline) else None
    check_networks(pipeline.unet.config, pipeline.vae.config, text_2, where=where)
    pipeline.set_progress_bar_config(disable=True)
    share_prompts(pipeline.unet)
    # Trained weights are float32. Casting to the same dtype would print a warning, hence the test.
    for part in networks(pipeline):
        if part.dtype != torch.float32:  # such as the fp16 variant
            part.to(torch.float32)
    return pipeline


def _forget_defaults(pipeline: Pipeline, folder: Path) -> None:
    """Keep only those settings of the scheduler that it was given.

    diffusers also writes the defaults of the scheduler's class. As if they were the base's, they would then override
    the defaults of a sampler: DPM-Solver++ would begin at timestep 951, not 999, for Stable Diffusion 1.5.
    """
    defaults = pipeline.scheduler.config.get("_use_default_values", [])
    given = {key: value for key, value in read_scheduler(folder).items() if key not in defaults}
    (folder / SCHEDULER).write_text(json.dumps(given, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _forget_origin(folder: Path) -> None:
    """Remove the path of the source folder, which diffusers writes to the configs."""
    for path in folder.rglob("*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config, dict) and config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _hush() -> None:
    """Disable the progress bars of diffusers and transformers, since loading takes little time."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
