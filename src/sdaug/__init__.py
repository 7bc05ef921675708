"""Does augmenting a small, imbalanced image data set with Stable Diffusion help a classifier?"""
