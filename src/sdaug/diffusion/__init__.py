"""Stable Diffusion: loading and saving, latents, the denoising loss and sampling."""
