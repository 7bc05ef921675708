"""Stable Diffusion: the tiny base, DreamBooth and synthesis."""
