"""The check stage: validates all of params.yaml."""
