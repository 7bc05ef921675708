"""`sdaug pretrain`: the small Stable Diffusion in `pretrained/`, trained on procedural worlds and licensed photos."""
