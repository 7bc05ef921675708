"""The names that params can choose from, apart from their code so that params are checked without loading it."""

from typing import Literal

SamplerName = Literal["dpm_solver", "unipc", "ddim", "euler", "pndm"]
ScheduleName = Literal["constant", "linear", "cosine"]
OptimizerName = Literal["adamw", "adamw_8bit"]
MethodName = Literal["full", "lora"]
