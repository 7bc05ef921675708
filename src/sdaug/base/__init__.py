"""Stage `base`: the Stable Diffusion model that the study starts from."""
