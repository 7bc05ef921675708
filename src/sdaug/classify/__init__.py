"""Classifiers: building, loading, inference and scores."""
