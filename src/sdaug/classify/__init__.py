"""Classifiers: models, training and evaluation."""
