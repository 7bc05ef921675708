"""Getting the base: it is loaded from a single file, a folder or the hub, and may then adapt to the study's photos."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sdaug.base.adapting import adapt_base
from sdaug.base.params import BaseParams
from sdaug.base.prediction import prediction_warning
from sdaug.diffusion.pipelines import download_pipeline, load_checkpoint, load_pipeline
from sdaug.diffusion.versions import Pipeline
from sdaug.diffusion.weight_training import Report


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pipeline to start from; one from the hub also names its `model`, `commit` and `variant`."""

    pipeline: Pipeline
    source: dict[str, str | None] | None


def make_base(
    params: BaseParams,
    images: NDArray[np.uint8],
    device: torch.device,
    report: Report,
    *,
    work_dir: Path | None = None,
) -> Base:
    """The base on `device`, adapted to images `(N, H, W, 3)` if `params` say so.

    Checkpoints of adapting are in `work_dir`, if it is given.

    Raises:
        ValueError: the model cannot be loaded, or the training diverges.
    """
    model, source = Path(params.model), None
    if model.suffix == ".safetensors" and params.config is not None:
        pipeline = load_checkpoint(model, params.config)
    elif model.is_dir():
        pipeline = load_pipeline(model, device, variant=params.variant)
    else:
        pipeline, commit = download_pipeline(params.model, params.revision, params.variant)
        source = {"model": params.model, "commit": commit, "variant": params.variant}
    pipeline = pipeline.to(device)
    warning = prediction_warning(pipeline, images, params.caption) if len(images) else None
    if warning:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    if params.adapt_steps:
        adapt_base(pipeline, images, params, report=report, work_dir=work_dir)
    return Base(pipeline=pipeline, source=source)
