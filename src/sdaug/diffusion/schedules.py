"""Schedulers for training and for sampling, both made from the base's own, which stays on disk as it came."""

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from sdaug.common.params import SamplerName
from sdaug.diffusion.layout import PNDM_RULE, has_zero_terminal_snr
from sdaug.diffusion.versions import Pipeline

SAMPLERS = {
    "dpm_solver": DPMSolverMultistepScheduler,  # DPM-Solver++ 2M, arXiv 2211.01095
    "unipc": UniPCMultistepScheduler,  # arXiv 2302.04867
    "ddim": DDIMScheduler,  # arXiv 2010.02502
    "euler": EulerDiscreteScheduler,  # arXiv 2206.00364
    "pndm": PNDMScheduler,  # arXiv 2202.09778
}


def noise_schedule(pipeline: Pipeline) -> DDIMScheduler:
    """The noise levels and the prediction type that the base was trained with, for further training."""
    # Of the classes that diffusers makes from any config, PNDM, the usual one, has no `get_velocity`.
    return DDIMScheduler.from_config(pipeline.scheduler.config)


def build_sampler(pipeline: Pipeline, name: SamplerName) -> SchedulerMixin:
    """A new sampler, the same that plain diffusers makes from the base's scheduler, but it never clips latents.

    Raises:
        ValueError: the sampler does not know the base's noise levels.
    """
    config = pipeline.scheduler.config
    if name == "pndm" and has_zero_terminal_snr(config):
        raise ValueError(f"sampler: 'pndm'; {PNDM_RULE}")
    # DDIM clips by default; a base whose own scheduler has no such option does not turn it off.
    return SAMPLERS[name].from_config(config, clip_sample=False)
