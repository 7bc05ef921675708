"""Stage `train`: one classifier on one data set."""
