"""Stages `split`, `holdout` and `unlabelled`: the images of each data set."""
