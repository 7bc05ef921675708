"""The stage train: one classifier on one data set."""
