"""Photos, manifests and packed data sets."""
