"""Stages `prepare` and `teats`: from raw photos to checked, square images with splits and folds."""
