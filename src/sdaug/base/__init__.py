"""The stage base: a Stable Diffusion to start from."""
