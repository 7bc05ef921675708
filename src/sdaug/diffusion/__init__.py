"""Stable Diffusion: loading, latents, the denoising loss and sampling."""
