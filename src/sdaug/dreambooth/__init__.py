"""The stages class_images and dreambooth: a generator for each rare class."""
