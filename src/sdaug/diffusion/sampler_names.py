"""The samplers a study can name, apart from their code so that params are checked without loading it."""

from typing import Literal

SamplerName = Literal["dpm_solver", "unipc", "ddim", "euler", "pndm"]
