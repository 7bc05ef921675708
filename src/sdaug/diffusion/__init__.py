"""Stable Diffusion: the tiny base, DreamBooth and synthesis."""

from sdaug.compiler import postpone_compiler

postpone_compiler()  # before diffusers and transformers are loaded, which load it for names that are not used here
