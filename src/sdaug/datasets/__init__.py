"""Stages `split` and `holdout`: the images of each data set."""
