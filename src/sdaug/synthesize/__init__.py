"""The stage synthesize: synthetic images and their manifest."""
