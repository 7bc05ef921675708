"""Command records: what lets others use the generators, classifiers and images of a finished study."""
